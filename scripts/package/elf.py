"""What a compiled module asks the dynamic linker for: the libraries it needs, and where else to look for them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["Needed", "needed"]

# ELF64, little endian: System V ABI, chapters 4 and 5
HEADER, PROGRAM, ENTRY = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ"), struct.Struct("<qQ")
LOAD, DYNAMIC = 1, 2
END, NEEDED, STRINGS, RPATH, RUNPATH = 0, 1, 5, 15, 29


@dataclass(frozen=True)
class Needed:
    libraries: tuple[str, ...]
    folders: tuple[str, ...]


def needed(data: bytes) -> Needed:
    """ValueError for what is no ELF file of 64 bits, little endian."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not an ELF file of 64 bits, little endian")
    header = HEADER.unpack_from(data)
    programs = [PROGRAM.unpack_from(data, header[5] + i * header[9]) for i in range(header[10])]
    loads = [each for each in programs if each[0] == LOAD]
    entries = [
        entry
        for each in programs
        if each[0] == DYNAMIC
        for entry in ENTRY.iter_unpack(data[each[2] : each[2] + each[5]])
    ]
    strings = next((value for tag, value in entries if tag == STRINGS), 0)
    start = next((strings - each[3] + each[2] for each in loads if each[3] <= strings < each[3] + each[5]), 0)

    def text(offset: int) -> str:
        begin = start + offset
        return data[begin : data.index(b"\0", begin)].decode()

    libraries = tuple(text(value) for tag, value in entries if tag == NEEDED)
    folders = tuple(part for tag, value in entries if tag in (RPATH, RUNPATH) for part in text(value).split(":"))
    return Needed(libraries, folders)
