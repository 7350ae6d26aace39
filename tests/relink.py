#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""relink.py KIND CAPTURE: the packets of an Ethernet capture (pcap, little-endian) with another link layer, on standard
output: sll, sll2, null, loop, ppp, hdlc, raw; or `interfaces`: pcapng with an interface for each of these, packets in turn."""
import struct
import sys

KINDS = {"null": 0, "ethernet": 1, "ppp": 9, "raw": 101, "hdlc": 104, "loop": 108, "sll": 113, "sll2": 276}


def read(path):
    data = open(path, "rb").read()
    nano = data[:4] == b"\x4d\x3c\xb2\xa1"
    at = 24
    while at < len(data):
        seconds, fraction, caplen, length = struct.unpack_from("<IIII", data, at)
        yield seconds * 10**9 + fraction * (1 if nano else 1000), data[at + 16:at + 16 + caplen]
        at += 16 + caplen


def link(kind, frame):
    source, ethertype, rest = frame[6:12], struct.unpack(">H", frame[12:14])[0], frame[14:]
    is_ip = ethertype in (0x0800, 0x86dd)
    to = 1 if frame[:6] == b"\xff" * 6 else 2 if frame[0] & 1 else 0
    if kind == "ethernet":
        return frame
    if kind == "sll":
        return struct.pack(">HHH8sH", to, 1, 6, source, ethertype) + rest
    if kind == "sll2":
        return struct.pack(">HHIHBB8s", ethertype, 0, 3, 1, to, 6, source) + rest
    if kind == "hdlc":
        return struct.pack(">BBH", 0x0f, 0, ethertype) + rest
    if not is_ip:
        return None
    if kind == "null":
        return struct.pack("<I", 2 if ethertype == 0x0800 else 24) + rest
    if kind == "loop":
        return struct.pack(">I", 2 if ethertype == 0x0800 else 24) + rest
    if kind == "ppp":
        return b"\xff\x03" + struct.pack(">H", 0x21 if ethertype == 0x0800 else 0x57) + rest
    return rest


def block(kind, body):
    body += b"\0" * (-len(body) % 4)
    return struct.pack(">II", kind, len(body) + 12) + body + struct.pack(">I", len(body) + 12)


def interfaces(packets):
    out = block(0x0a0d0d0a, struct.pack(">IHHq", 0x1a2b3c4d, 1, 0, -1))
    for number in KINDS.values():
        out += block(1, struct.pack(">HHI", number, 0, 0) + struct.pack(">HHBxxxHH", 9, 1, 9, 0, 0))
    for i, (time, frame) in enumerate(packets):
        which = i % len(KINDS)
        body = link(list(KINDS)[which], frame)
        if body is None:
            which, body = 1, frame
        out += block(6, struct.pack(">IIIII", which, time >> 32, time & 0xffffffff, len(body), len(body)) + body)
        out += block(5, struct.pack(">III", 0, 0, 0))
    return out


def main():
    kind, path = sys.argv[1:]
    if kind == "interfaces":
        sys.stdout.buffer.write(interfaces(read(path)))
        return
    sys.stdout.buffer.write(struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, 262144, KINDS[kind]))
    for time, frame in read(path):
        body = link(kind, frame)
        if body is not None:
            sys.stdout.buffer.write(struct.pack("<IIII", time // 10**9, time % 10**9, len(body), len(body)) + body)


main()
