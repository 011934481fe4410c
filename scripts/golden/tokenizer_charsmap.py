"""A precompiled character map as SentencePiece stores it: bytes of a double array, then the values."""
import struct


def place(node, pos, units, used):
    labels = [max(b, 0) for b in node]
    offset = 1
    while any((pos ^ offset ^ b) in used for b in labels):
        offset += 1
    base = pos ^ offset
    used.update(base ^ b for b in labels)
    units[pos] = units.get(pos, 0) | offset << 10 | (1 << 8 if -1 in node else 0)
    for b, child in node.items():
        units[base ^ max(b, 0)] = child | 1 << 31 if b < 0 else b
    for b, child in node.items():
        if b >= 0:
            place(child, base ^ b, units, used)


def charsmap(rules):
    """`rules`: bytes to bytes. -1 is the edge to a value."""
    root, units, values = {}, {0: 0}, b""
    for key, value in rules.items():
        node = root
        for b in key:
            node = node.setdefault(b, {})
        node[-1] = len(values)
        values += value + b"\0"
    place(root, 0, units, {0})
    count = (max(units) | 255) + 1
    array = [units.get(i, 0) for i in range(count)]
    return struct.pack("<I", count * 4) + struct.pack("<%dI" % count, *array) + values
