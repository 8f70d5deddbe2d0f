"""What a compiled module asks the dynamic linker for, and what an overrun of its memory could use.

ELF64, little endian: System V ABI, chapters 4 and 5; the numbers of GNU are those of elf.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Needed", "imported", "needed", "weaknesses"]

HEADER, PROGRAM, ENTRY = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ"), struct.Struct("<qQ")
LOAD, DYNAMIC, GNU_STACK, GNU_RELRO = 1, 2, 0x6474E551, 0x6474E552
EXECUTABLE, WRITABLE = 1, 2
END, NEEDED, STRINGS, STRINGS_SIZE, RPATH, RUNPATH = 0, 1, 5, 10, 15, 29
TEXTREL, BIND_NOW, FLAGS, FLAGS_1 = 22, 24, 30, 0x6FFFFFFB
FLAG_TEXTREL, FLAG_NOW, FLAG_1_NOW = 4, 8, 1


@dataclass(frozen=True)
class Needed:
    libraries: tuple[str, ...]
    folders: tuple[str, ...]


class _Read:
    """Tables of an ELF file. ValueError for what is none of 64 bits, little endian.

    programs: type and flags of each segment. entries: of the dynamic section. strings: its names, each ends with a 0.
    """

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not an ELF file of 64 bits, little endian")
        header = HEADER.unpack_from(data)
        self.programs = [PROGRAM.unpack_from(data, header[5] + i * header[9]) for i in range(header[10])]
        self.entries: list[tuple[int, int]] = []
        for kind, _, offset, _, _, size, _, _ in self.programs:
            if kind == DYNAMIC:
                self.entries += ENTRY.iter_unpack(data[offset : offset + size])
        address = next(self.values(STRINGS), 0)
        begin = next(
            (address - each[3] + each[2] for each in self.of(LOAD) if each[3] <= address < each[3] + each[5]), 0
        )
        self.strings = data[begin : begin + next(self.values(STRINGS_SIZE), 0)]

    def of(self, kind: int) -> list[tuple[int, ...]]:
        return [each for each in self.programs if each[0] == kind]

    def values(self, *tags: int) -> Iterator[int]:
        return (value for tag, value in self.entries if tag in tags)

    def texts(self, *tags: int) -> Iterator[str]:
        return (self.strings[value : self.strings.index(b"\0", value)].decode() for value in self.values(*tags))

    def has(self, tag: int) -> bool:
        return any(each == tag for each, _ in self.entries)

    def flagged(self, tag: int, flag: int) -> bool:
        return any(value & flag for value in self.values(tag))


def needed(data: bytes) -> Needed:
    """The libraries that it needs, and where else to look for them. ValueError for what is no such ELF file."""
    read = _Read(data)
    return Needed(
        tuple(read.texts(NEEDED)), tuple(part for text in read.texts(RPATH, RUNPATH) for part in text.split(":"))
    )


def imported(data: bytes) -> frozenset[str]:
    """The names that the dynamic linker is given: of what it refers to, and the few of what it has for others."""
    return frozenset(name.decode() for name in _Read(data).strings.split(b"\0") if name)


def weaknesses(data: bytes) -> list[str]:
    """What an overrun of its memory could change and run; nothing where the linker has left none of that."""
    read = _Read(data)
    found = []
    if not (read.has(BIND_NOW) or read.flagged(FLAGS, FLAG_NOW) or read.flagged(FLAGS_1, FLAG_1_NOW)):
        found.append("binds functions while it runs: no BIND_NOW")
    if not read.of(GNU_RELRO):
        found.append("leaves the addresses of functions writable: no GNU_RELRO")
    if not read.of(GNU_STACK) or any(each[1] & EXECUTABLE for each in read.of(GNU_STACK)):
        found.append("wants a stack that can be executed: GNU_STACK")
    if any(each[1] & WRITABLE and each[1] & EXECUTABLE for each in read.of(LOAD)):
        found.append("has memory that can be written and executed")
    if read.has(TEXTREL) or read.flagged(FLAGS, FLAG_TEXTREL):
        found.append("changes its code when it is loaded: TEXTREL")
    return found
