#!/usr/bin/env python3
"""The texts in an R package's data (Rdata.rdb), read without R: every element of every character vector as a line.

An .rdb file is a row of objects, each a big-endian length and a zlib stream. What that holds is R's serialization in its
binary form: "R Internals", section 1.8.
"""
import struct
import sys
import zlib

HEADER = b"X\n"
CHARACTER_VECTOR, CHARACTERS = 16, 9
MISSING = 0xFFFFFFFF


def objects(packed):
    """The serialized objects of an .rdb file, in order."""
    while packed:
        stream = zlib.decompressobj()
        yield stream.decompress(packed[4:])
        packed = stream.unused_data


def texts(data):
    """The elements of one serialized character vector without attributes."""
    version = struct.unpack_from(">I", data, 2)[0]
    at = len(HEADER) + 12
    if version >= 3:  # the name of the encoding
        at += 4 + struct.unpack_from(">I", data, at)[0]
    flags, count = struct.unpack_from(">2I", data, at)
    if not data.startswith(HEADER) or flags != CHARACTER_VECTOR:
        raise SystemExit("r_strings: an object that is no plain character vector")
    at += 8
    for _ in range(count):
        flags, length = struct.unpack_from(">2I", data, at)
        if flags & 0xFF != CHARACTERS:
            raise SystemExit("r_strings: an element that is no text")
        at += 8
        if length == MISSING:
            continue
        yield data[at : at + length]
        at += length


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: r_strings.py FILE.rdb")
    with open(sys.argv[1], "rb") as file:
        for data in objects(file.read()):
            for text in texts(data):
                sys.stdout.buffer.write(text + b"\n")
