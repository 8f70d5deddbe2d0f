"""Protobuf's wire format, field by field and with bounds (protobuf.dev, Encoding). Values of bytes are not read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from modelward.scanning.source import Source, Span

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_HEADER = 20  # of a field: two varints
LONG_RUN = 256  # numbers of one field, one after the other; further ones are skipped unread

# field number, wire type, and the number, or where the value lies
Field = tuple[int, int, int | Span]


class Damaged(Exception):
    """These bytes are no message, and why, in words."""


class TooMuch(Exception):
    """The budget is spent, and on what, in words."""


class Budget:
    """What one scan may look at: fields of messages, and nodes on the ways through the graph."""

    def __init__(self, fields: int) -> None:
        self.left = fields
        self._fields = fields

    def spend(self, count: int = 1) -> None:
        self.left -= count
        if self.left < 0:
            raise TooMuch(f"the scan stops after {self._fields} fields and steps")


def fields(source: Source, span: Span, budget: Budget) -> Iterator[Field]:
    """The fields of the message that lies in `span`. Raises Damaged, TooMuch."""
    position, stop = span
    data, base = source.window(position)
    before, run = -1, 0
    while position < stop:
        if position + LONGEST_HEADER > base + len(data) < source.size:
            data, base = source.window(position)
        end = min(stop - base, len(data))
        budget.spend()
        tag, at = varint(data, position - base, end)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise Damaged(f"byte {position} is no field")
        run = run + 1 if tag == before else 0
        before = tag
        if wire == VARINT:
            value, at = varint(data, at, end)
            yield number, wire, value
        elif wire == BYTES:
            length, at = varint(data, at, end)
            begin = base + at
            if begin + length > stop:
                raise Damaged(f"the value at byte {begin} goes on beyond the end of its message")
            yield number, wire, (begin, begin + length)
            at += length
        elif wire in (FIXED64, FIXED32):
            begin = base + at
            at += 8 if wire == FIXED64 else 4
            if base + at > stop:
                raise Damaged(f"the number at byte {begin} goes on beyond the end of its message")
            yield number, wire, (begin, base + at)
        else:
            raise Damaged(f"byte {position} begins a value of the unknown type {wire}")
        if run >= LONG_RUN and wire != BYTES and tag < 0x80:
            same = _run(tag).match(data, at, end)
            at = same.end() if same else at
        position = base + at


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of at most 64 bits, and where it ends. Raises Damaged."""
    value, shift = 0, 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise Damaged("a number is cut off" if at >= end else "a number has more than 64 bits")


@cache
def _run(tag: int) -> re.Pattern[bytes]:
    """Further values of a field of numbers that is not packed."""
    value = {VARINT: rb"[\x80-\xff]{0,9}[\x00-\x7f]", FIXED64: rb"[\x00-\xff]{8}", FIXED32: rb"[\x00-\xff]{4}"}
    return re.compile(b"(?:" + re.escape(bytes([tag])) + value[tag & 7] + b")*+")


def signed(value: int) -> int:
    """An int64 as its varint has it."""
    return value - (1 << 64) if value >= 1 << 63 else value


def varints(data: bytes, most: int) -> list[int]:
    """The first of the numbers of a packed field. Raises Damaged."""
    numbers: list[int] = []
    at = 0
    while at < len(data) and len(numbers) < most:
        value, at = varint(data, at, len(data))
        numbers.append(signed(value))
    return numbers
