#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes the captures that come with flowq: make_captures.py [DIRECTORY], by default the one this file is in.

Every byte is decided here: same script, same files; a test compares. One VM, 10.0.0.5 and 2001:db8::5, talks to the world through
a gateway; each file shows one thing. Frames are cut to the bytes that matter (as `tcpdump -s` does), lengths and checksums are
right.
"""
import os
import struct
import sys
from ipaddress import ip_address

VM4, VM6 = "10.0.0.5", "2001:db8::5"
VM_MAC, GATEWAY_MAC = "020000000005", "020000000001"
SNAP = 96  # bytes kept of a frame
LONG_SNAP = 128  # where there are headers within
TCP, UDP, ICMP, ICMP6, GRE, SCTP = 6, 17, 1, 58, 47, 132
SYN, ACK, PSH, FIN, RST = 0x02, 0x10, 0x08, 0x01, 0x04


class Lots:
    """Draws by lot, the same everywhere and for ever (Lehmer, 1951; constants of MINSTD)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = self.state * 48271 % 2147483647
        return self.state % n


# ---- Packets ----

def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packed(address):
    return ip_address(address).packed


def with_checksum(segment, at, src, dst, protocol):
    """Puts the checksum over pseudo header and segment at its place."""
    pseudo = packed(src) + packed(dst) + struct.pack("!IHBB", len(segment), 0, 0, protocol)
    value = checksum(pseudo + segment) or 0xffff
    return segment[:at] + struct.pack("!H", value) + segment[at + 2:]


def ip4(src, dst, protocol, payload, ident=0, offset=0, more=False, ttl=64):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, (0x2000 if more else 0) | offset // 8, ttl, protocol, 0)
    head += packed(src) + packed(dst)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ip6(src, dst, protocol, payload, label=0):
    return struct.pack("!IHBB", 6 << 28 | label, len(payload), protocol, 64) + packed(src) + packed(dst) + payload


def ip(src, dst, protocol, payload, **more):
    return (ip6 if ":" in src else ip4)(src, dst, protocol, payload, **more)


def options6(next_header):
    """Hop-by-hop or destination options: eight bytes of padding."""
    return struct.pack("!BBBB4x", next_header, 0, 1, 4)


def fragment6(next_header, ident, offset, more):
    return struct.pack("!BBHI", next_header, 0, offset | more, ident)


def tcp(src, sport, dst, dport, flags, size=0, seq=1):
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, 1, 0x50, flags, 0xffff, 0, 0) + bytes(size)
    return with_checksum(segment, 16, src, dst, TCP)


def udp(src, sport, dst, dport, payload):
    return with_checksum(struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload, 6, src, dst, UDP)


def icmp(kind, code, rest, payload):
    message = struct.pack("!BBHI", kind, code, 0, rest) + payload
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def icmp6(src, dst, kind, code, rest, payload):
    return with_checksum(struct.pack("!BBHI", kind, code, 0, rest) + payload, 2, src, dst, ICMP6)


def sctp(sport, dport, data):
    """One DATA chunk; the checksum is CRC-32C, little-endian (RFC 9260, appendix A)."""
    chunk = struct.pack("!BBHIHHI", 0, 3, 16 + len(data), 1, 0, 0, 0) + data
    packet = struct.pack("!HHII", sport, dport, 7, 0) + chunk
    crc = 0xffffffff
    for byte in packet:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return packet[:8] + struct.pack("<I", crc ^ 0xffffffff) + chunk


def ether(dst, src, payload, tags=(), kind=None):
    """tags: (ethertype, VLAN id), outermost first."""
    head = bytes.fromhex(dst + src)
    for ethertype, vlan in tags:
        head += struct.pack("!HH", ethertype, vlan)
    if kind is None:
        kind = 0x0800 if payload[0] >> 4 == 4 else 0x86dd
    return head + struct.pack("!H", kind) + payload


# ---- Captures ----

class Capture:
    """Frames with their times in nanoseconds. Conversations overlap: each adds its own, write() sorts them by time."""

    def __init__(self, name, raw=False, tags=(), wrap=None, snap=SNAP):
        self.name, self.raw, self.tags, self.wrap = name, raw, tags, wrap
        self.snap = LONG_SNAP if wrap else snap
        self.frames = []

    def add(self, time, sent, packet):
        """One IP packet that the VM sends, or receives."""
        if self.wrap:
            packet = self.wrap(sent, packet)
        if not self.raw:
            ends = (GATEWAY_MAC, VM_MAC) if sent else (VM_MAC, GATEWAY_MAC)
            packet = ether(*ends, packet, self.tags)
        self.frames.append((time, len(self.frames), packet))

    def frame(self, time, frame):
        self.frames.append((time, len(self.frames), frame))

    def write(self, directory):
        frames = [(time, data) for time, _, data in sorted(self.frames)]
        write = write_pcapng if self.name.endswith(".pcapng") else write_pcap
        with open(os.path.join(directory, self.name), "wb") as file:
            write(file, frames, 101 if self.raw else 1, self.snap)


START = 1700000000 * 10**9
MS = 10**6


def write_pcap(file, frames, link, snap):
    """The classic format, little-endian, microseconds."""
    file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, snap, link))
    for time, data in frames:
        time += START
        kept = data[:snap]
        file.write(struct.pack("<IIII", time // 10**9, time % 10**9 // 1000, len(kept), len(data)) + kept)


def write_pcapng(file, frames, link, snap):
    """The next generation, big-endian to be different, nanoseconds."""

    def block(kind, body):
        body += bytes(-len(body) % 4)
        size = 12 + len(body)
        file.write(struct.pack(">II", kind, size) + body + struct.pack(">I", size))

    block(0x0a0d0d0a, struct.pack(">IHHq", 0x1a2b3c4d, 1, 0, -1))
    block(1, struct.pack(">HHI", link, 0, snap) + struct.pack(">HHB3x", 9, 1, 9) + struct.pack(">HH", 0, 0))
    for time, data in frames:
        time += START
        kept = data[:snap]
        block(6, struct.pack(">IIIII", 0, time >> 32, time & 0xffffffff, len(kept), len(data)) + kept)


# ---- Conversations ----

def peer(n, version=4):
    return ("198.51.100.%d" % (1 + n % 250)) if version == 4 else ("2001:db8:1::%x" % (1 + n))


def connection(capture, lots, time, vm, far, opened_by_vm, rounds, vm_port, far_port, gap=20 * MS, transform=None, reset=False):
    """A TCP connection: three-way handshake, `rounds` of request and answer, and the end."""

    def segment(sent, flags, size=0):
        nonlocal time
        src, sport, dst, dport = (vm, vm_port, far, far_port) if sent else (far, far_port, vm, vm_port)
        protocol, payload = TCP, tcp(src, sport, dst, dport, flags, size)
        if transform:
            protocol, payload = transform(sent, protocol, payload)
        capture.add(time, sent, ip(src, dst, protocol, payload))
        time += 100000 + lots.below(gap)

    asks = opened_by_vm
    segment(asks, SYN)
    segment(not asks, SYN | ACK)
    segment(asks, ACK)
    for _ in range(rounds):
        segment(asks, PSH | ACK, 40 + lots.below(200))
        for _ in range(1 + lots.below(3)):
            segment(not asks, ACK, 1448)
        segment(asks, ACK)
    if reset:
        segment(not asks, RST)
        return
    segment(asks, FIN | ACK)
    segment(not asks, FIN | ACK)
    segment(asks, ACK)


def datagrams(capture, lots, time, vm, far, vm_port, far_port, rounds, vm_first=True, gap=20 * MS):
    for _ in range(rounds):
        for sent in (vm_first, not vm_first):
            src, sport, dst, dport = (vm, vm_port, far, far_port) if sent else (far, far_port, vm, vm_port)
            capture.add(time, sent, ip(src, dst, UDP, udp(src, sport, dst, dport, bytes(30 + lots.below(200)))))
            time += 200000 + lots.below(gap)


# ---- The files ----

def tcp_capture():
    """A web server and its clients, and what the server itself fetches."""
    capture, lots = Capture("tcp.pcap"), Lots(11)
    for i in range(24):
        far, port = peer(i), 32768 + lots.below(28000)
        if i % 3 == 0:
            connection(capture, lots, i * 40 * MS, VM4, far, True, 3 + lots.below(5), port, 443)
        else:
            connection(capture, lots, i * 40 * MS, VM4, far, False, 3 + lots.below(5), 443, port, reset=i % 8 == 1)
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + bytes.fromhex(VM_MAC) + packed(VM4) + bytes(6) + packed("10.0.0.1")
    capture.frame(0, ether("ff" * 6, VM_MAC, arp, kind=0x0806))
    return capture


def udp_capture():
    """DNS, QUIC and SCTP; a neighbour's multicast that everybody hears; the only pcapng file."""
    capture, lots = Capture("udp.pcapng"), Lots(12)
    for i in range(20):
        datagrams(capture, lots, i * 15 * MS, VM4, "10.0.0.53", 20000 + 31 * i, 53, 1)
    for i in range(8):
        datagrams(capture, lots, i * 25 * MS, VM4, peer(40 + i), 40000 + i, 443, 12)
    for i in range(3):
        datagrams(capture, lots, i * 30 * MS, VM4, peer(60 + i), 123, 50000 + i, 4, vm_first=False)
    for i in range(12):
        sent = i % 2 == 0
        src, dst = (VM4, peer(70)) if sent else (peer(70), VM4)
        capture.add(i * 20 * MS, sent, ip4(src, dst, SCTP, sctp(5000, 5000, bytes(32))))
    neighbour = ip4("10.0.0.9", "224.0.0.251", UDP, udp("10.0.0.9", 5353, "224.0.0.251", 5353, bytes(60)), ttl=255)
    for i in range(4):
        capture.frame(i * 100 * MS, ether("01005e0000fb", "020000000009", neighbour))
    return capture


def ipv6_capture():
    """The same over IPv6, some of it behind extension headers."""
    capture, lots = Capture("ipv6.pcap"), Lots(13)

    def behind_options(sent, protocol, payload):
        return (0, options6(60) + options6(protocol) + payload) if sent else (60, options6(protocol) + payload)

    for i in range(10):
        ports = (443, 40000 + i) if i % 2 else (40000 + i, 443)
        connection(capture, lots, i * 30 * MS, VM6, peer(i, 6), i % 2 == 0, 4, *ports,
                   transform=behind_options if i >= 7 else None)
    for i in range(8):
        datagrams(capture, lots, i * 25 * MS, VM6, peer(20 + i, 6), 42000 + i, 443, 6)
    for i in range(6):  # a ping; echo messages are one flow for each pair of addresses
        for sent in (True, False):
            src, dst = (VM6, peer(30, 6)) if sent else (peer(30, 6), VM6)
            message = icmp6(src, dst, 128 if sent else 129, 0, i, bytes(56))
            capture.add(i * 50 * MS + (not sent) * MS, sent, ip6(src, dst, ICMP6, message))
    return capture


def vlan_capture():
    """One VLAN tag."""
    capture, lots = Capture("vlan.pcap", tags=((0x8100, 100),)), Lots(14)
    for i in range(6):
        connection(capture, lots, i * 30 * MS, VM4, peer(80 + i), True, 3, 41000 + i, 443)
    return capture


def qinq_capture():
    """Two VLAN tags, the provider's outside."""
    capture, lots = Capture("qinq.pcap", tags=((0x88a8, 200), (0x8100, 100))), Lots(15)
    for i in range(5):
        connection(capture, lots, i * 30 * MS, VM4, peer(90 + i), False, 3, 22, 41000 + i)
    datagrams(capture, lots, 0, VM6, peer(90, 6), 42000, 443, 6)
    return capture


def raw_capture():
    """What a TUN device gives: no Ethernet."""
    capture, lots = Capture("raw-ip.pcap", raw=True), Lots(16)
    for i in range(4):
        connection(capture, lots, i * 30 * MS, VM4, peer(100 + i), True, 3, 43000 + i, 443)
        connection(capture, lots, i * 30 * MS, VM6, peer(100 + i, 6), False, 3, 443, 43000 + i)
    return capture


MTU = 1480  # bytes of payload in a fragment


def pieces(capture, time, sent, src, dst, protocol, payload, ident, order=None):
    """Sends one datagram in fragments, in another order if one is given."""
    cuts = list(range(0, len(payload), MTU))
    for n, i in enumerate(order or range(len(cuts))):
        part, more = payload[cuts[i]:cuts[i] + MTU], i + 1 < len(cuts)
        if ":" in src:
            packet = ip6(src, dst, 44, fragment6(protocol, ident, cuts[i], more) + part)
        else:
            packet = ip4(src, dst, protocol, part, ident, cuts[i], more)
        capture.add(time + n * 20000, sent, packet)


def fragments(name, version, seed):
    """Large UDP answers both ways (a file server), between small ones; the last datagram comes back to front."""
    capture, lots = Capture(name), Lots(seed)
    vm = VM4 if version == 4 else VM6
    ident = 100
    for i in range(6):
        far, port, time = peer(110 + i, version), 950 + i, i * 7 * MS
        for turn in range(8):
            sent = turn % 2 == 0
            ends = (vm, port, far, 2049) if sent else (far, 2049, vm, port)
            size = (5000 if sent == (i % 2 == 0) else 100) + lots.below(2000)
            segment = udp(*ends, bytes(size))
            ident += 1
            if len(segment) <= MTU:
                capture.add(time, sent, ip(ends[0], ends[2], UDP, segment))
            else:
                pieces(capture, time, sent, ends[0], ends[2], UDP, segment, ident)
            time += 10 * MS + lots.below(20 * MS)
    backwards = udp(peer(110, version), 2049, vm, 950, bytes(4000))
    pieces(capture, 900 * MS, False, peer(110, version), vm, UDP, backwards, 9999, order=(2, 1, 0))
    if version == 6:  # an atomic fragment is a whole packet (RFC 6946)
        for i in range(4):
            src, sport, dst, dport = (vm, 800, peer(120, 6), 2049) if i % 2 == 0 else (peer(120, 6), 2049, vm, 800)
            payload = fragment6(UDP, 0, 0, False) + udp(src, sport, dst, dport, bytes(100))
            capture.add((10 + 20 * i) * MS, i % 2 == 0, ip6(src, dst, 44, payload))
    return capture


INNER_VM, INNER_MACS = "172.16.0.5", ("020000001005", "020000001001")


def inner_frame(sent, packet):
    vm_mac, far_mac = INNER_MACS
    return ether(far_mac, vm_mac, packet) if sent else ether(vm_mac, far_mac, packet)


def in_udp(sent, header, packet, port, inner, far="203.0.113.9"):
    """A tunnel over UDP: the source port tells inner flows apart, and the answer does not come back to it."""
    src, dst = (VM4, far) if sent else (far, VM4)
    entropy = 49152 + checksum(inner[12:24] + bytes([sent])) % 16384  # addresses, ports, direction
    return ip4(src, dst, UDP, udp(src, entropy, dst, port, header + packet))


def vxlan_capture():
    """VXLAN that ends in the VM: all flows share one pair of outer addresses, and outer ports never come back."""

    def wrap(sent, packet):
        return in_udp(sent, struct.pack("!II", 0x08000000, 42 << 8), inner_frame(sent, packet), 4789, packet)

    capture, lots = Capture("vxlan.pcap", wrap=wrap), Lots(18)
    for i in range(12):
        connection(capture, lots, i * 30 * MS, INNER_VM, "172.16.0.%d" % (20 + i), i % 2 == 0, 4, 443 if i % 2 else 44000 + i,
                   44000 + i if i % 2 else 443)
    return capture


def gre_capture():
    """GRE with and without key, and IP in IP: no ports outside at all."""

    def wrap(sent, packet):
        src, dst = (VM4, "203.0.113.10") if sent else ("203.0.113.10", VM4)
        last = packet[16 if sent else 12:][3]  # of the inner far address
        if last % 3 == 0:
            return ip4(src, dst, 4, packet)
        if last % 3 == 1:
            return ip4(src, dst, GRE, struct.pack("!HHI", 0x2000, 0x0800, 7) + packet)
        return ip4(src, dst, GRE, struct.pack("!HH", 0, 0x0800) + packet)

    capture, lots = Capture("gre.pcap", wrap=wrap), Lots(19)
    for i in range(9):
        connection(capture, lots, i * 30 * MS, INNER_VM, "172.16.1.%d" % (20 + i), True, 4, 45000 + i, 443)
    return capture


def tunnels_capture():
    """GENEVE with an option, and GTP-U."""

    def wrap(sent, packet):
        if packet[16 if sent else 12:][3] % 2 == 0:
            header = struct.pack("!BBHI", 2, 0, 0x6558, 42 << 8) + struct.pack("!HBBI", 0x0102, 0x80, 1, 0)
            return in_udp(sent, header, inner_frame(sent, packet), 6081, packet)
        return in_udp(sent, struct.pack("!BBHIHBB", 0x32, 255, 4 + len(packet), 77, 1, 0, 0), packet, 2152, packet)

    capture, lots = Capture("geneve-gtpu.pcap", wrap=wrap), Lots(20)
    for i in range(8):
        connection(capture, lots, i * 30 * MS, INNER_VM, "172.16.2.%d" % (20 + i), True, 3, 46000 + i, 443)
    return capture


def icmp_capture():
    """Errors about what the VM sent, from routers on the way: they belong to the flow that they quote."""
    capture, lots = Capture("icmp-errors.pcap", snap=LONG_SNAP), Lots(21)
    for i in range(16):
        time = i * 20 * MS
        far, port, router = peer(130 + i), 47000 + i, "192.0.2.%d" % (1 + i)
        packets = [ip4(VM4, far, UDP, udp(VM4, port, far, 33434 + n, bytes(32))) for n in range(3)]
        packets += [ip4(VM4, far, TCP, tcp(VM4, port, far, 443, ACK, 1448))]
        for n, packet in enumerate(packets):
            capture.add(time + n * 5 * MS, True, packet)
            kind, code, rest = ((11, 0, 0), (3, 1, 0), (3, 3, 0), (3, 4, 1400))[n]
            quote = packet[:28] if n % 2 == 0 else packet[:20 + 108]  # RFC 792: eight bytes; RFC 1812: as much as goes
            capture.add(time + n * 5 * MS + 2 * MS, False, ip4(router, VM4, ICMP, icmp(kind, code, rest, quote)))
    for i in range(10):
        far, router = peer(40 + i, 6), "2001:db8:2::%x" % (1 + i)
        time = i * 20 * MS
        connection(capture, lots, time, VM6, far, True, 1, 48000 + i, 443)
        packet = ip6(VM6, far, TCP, tcp(VM6, 48000 + i, far, 443, ACK, 1448))
        capture.add(time + 300 * MS, True, packet)
        capture.add(time + 310 * MS, False, ip6(router, VM6, ICMP6, icmp6(router, VM6, 2, 0, 1280, packet[:1232])))
    return capture


def moving_capture():
    """Three connections for ninety seconds: long enough for the scheduler to move their threads many times."""
    capture, lots = Capture("long-lived.pcap"), Lots(22)
    for i in range(3):
        time, far = i * 100 * MS, peer(160 + i)
        connection(capture, lots, time, VM4, far, True, 0, 49000 + i, 5432)
        for turn in range(150):
            time += 200 * MS + lots.below(700 * MS)
            capture.add(time, True, ip4(VM4, far, TCP, tcp(VM4, 49000 + i, far, 5432, PSH | ACK, 60)))
            for n in range(1 + lots.below(2)):
                capture.add(time + (n + 1) * MS, False, ip4(far, VM4, TCP, tcp(far, 5432, VM4, 49000 + i, PSH | ACK, 400)))
    return capture


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for make in (tcp_capture, udp_capture, ipv6_capture, vlan_capture, qinq_capture, raw_capture, vxlan_capture, gre_capture,
                 tunnels_capture, icmp_capture, moving_capture):
        make().write(directory)
    fragments("fragments-ipv4.pcap", 4, 17).write(directory)
    fragments("fragments-ipv6.pcap", 6, 23).write(directory)


if __name__ == "__main__":
    main()
