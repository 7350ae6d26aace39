#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""tests/abi/compare.py KEPT NEW: what was promised with the dump KEPT still holds in the dump NEW (both of dump.sh).

Additions are no change: a function, a constant, a struct, and a field at the end of a struct whose first field is its size (the
caller's sizeof says which version he was compiled with). abidiff, of the same package, cannot tell a struct that has grown from one
that has grown and changed. Says each difference; the exit status is 1 if one breaks a program that was compiled before.
"""
import sys
import xml.etree.ElementTree as ElementTree


class Dump:
    """Functions, symbols, structs and enumerations by name, with types as text."""

    def __init__(self, path):
        root = ElementTree.parse(path).getroot()
        self.types = {node.get("id"): node for node in root.iter() if node.get("id")}
        self.symbols = {node.get("name"): node.get("version") for node in root.iter("elf-symbol")}
        self.functions = {node.get("name"): self.signature(node) for node in root.iter("function-decl")}
        self.structs = {node.get("name"): self.struct(node) for node in root.iter("class-decl") if self.is_ours(node)}
        self.enums = {node.get("name"): self.enum(node) for node in root.iter("enum-decl") if self.is_ours(node)}

    @staticmethod
    def is_ours(node):
        return node.get("name", "").startswith("flowq_") and not node.get("is-declaration-only")

    def text(self, type_id):
        """A type in words: its name, what it points to; of a function, what it takes and gives."""
        node = self.types[type_id]
        if node.tag in ("pointer-type-def", "reference-type-def"):
            return self.text(node.get("type-id")) + " *"
        if node.tag == "qualified-type-def":
            return self.text(node.get("type-id")) + "".join(" " + q for q in ("const", "volatile") if node.get(q))
        if node.tag == "array-type-def":
            return self.text(node.get("type-id")) + "".join(f"[{s.get('length')}]" for s in node.iter("subrange"))
        if node.tag == "function-type":
            return self.signature(node)
        if node.tag == "typedef-decl":  # uint64_t is `unsigned long` here and `unsigned long long` there
            return node.get("name")
        return node.get("name")

    def signature(self, node):
        params = ", ".join("..." if p.get("is-variadic") else self.text(p.get("type-id")) for p in node.findall("parameter"))
        return f"{self.text(node.find('return').get('type-id'))} ({params})"

    def struct(self, node):
        fields = {}
        for member in node.findall("data-member"):
            variable = member.find("var-decl")
            fields[variable.get("name")] = (int(member.get("layout-offset-in-bits")) // 8, self.text(variable.get("type-id")))
        return int(node.get("size-in-bits")) // 8, fields

    def enum(self, node):
        size = self.types[node.find("underlying-type").get("type-id")].get("size-in-bits")
        return size, {e.get("name"): int(e.get("value")) for e in node.findall("enumerator")}


class Comparison:
    def __init__(self, kept, new):
        self.kept, self.new, self.broken, self.added = kept, new, [], []

    def each(self, what, kept, new, same):
        """Calls same(name, kept, new) for what is in both; what is gone breaks, what came is an addition."""
        for name in kept:
            if name in new:
                same(f"{what} {name}", kept[name], new[name])
            else:
                self.broken.append(f"{what} {name} is gone")
        self.added += [f"{what} {name}" for name in new if name not in kept]

    def equal(self, name, kept, new):
        if kept != new:
            self.broken.append(f"{name}: was {kept}, is {new}")

    def struct(self, name, kept, new):
        self.each(f"{name}, field", kept[1], new[1], self.equal)
        may_grow = next(iter(kept[1]), None) == "size"
        if new[0] < kept[0] or (new[0] > kept[0] and not may_grow):
            self.broken.append(f"{name}: had {kept[0]} bytes, has {new[0]}")
        for field, (offset, _) in new[1].items():
            if field not in kept[1] and offset < kept[0]:
                self.broken.append(f"{name}: field {field} is not behind what was the end")

    def enum(self, name, kept, new):
        self.equal(f"{name}, bits", kept[0], new[0])
        self.each(f"{name}, constant", kept[1], new[1], self.equal)

    def run(self):
        self.each("symbol", self.kept.symbols, self.new.symbols, self.equal)
        self.each("function", self.kept.functions, self.new.functions, self.equal)
        self.each("struct", self.kept.structs, self.new.structs, self.struct)
        self.each("enum", self.kept.enums, self.new.enums, self.enum)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[0])
    comparison = Comparison(Dump(sys.argv[1]), Dump(sys.argv[2]))
    kept = comparison.kept
    if not (kept.symbols and kept.functions and kept.structs and kept.enums):
        sys.exit(f"{sys.argv[1]} is no dump of flowq's interface")
    comparison.run()
    for line in comparison.added:
        print("added:", line)
    for line in comparison.broken:
        print("BROKEN:", line)
    sys.exit(1 if comparison.broken else 0)


main()
