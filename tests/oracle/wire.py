"""Protocol buffers' wire format as no library writes it: everything a parser must take, and what it must not.

`Writer` draws from a `random.Random`, so that Hypothesis (st.randoms) and a long campaign of seeds share it.
"""

from random import Random
from typing import Any

VARINT, I64, LEN, GROUP, END, I32 = range(6)

# A message type is its fields: number -> type; a list holds the one type of a repeated scalar that may be packed.
PARAMETER = {1: VARINT, 2: VARINT, 3: str, 4: I64, 5: VARINT}
ENTRY = {1: str, 2: PARAMETER}
CONTENTS = {
    1: [VARINT],
    2: [VARINT],
    3: [VARINT],
    4: [VARINT],
    5: [VARINT],
    6: [I32],
    7: [I64],
    8: bytes,
}
INPUT = {1: str, 2: str, 3: [VARINT], 4: ENTRY, 5: CONTENTS}
OUTPUT = {1: str, 2: ENTRY}
ANSWER = {1: str, 2: str, 3: str, 4: ENTRY, 5: INPUT, 6: bytes}
REQUEST = {1: str, 2: str, 3: str, 4: ENTRY, 5: INPUT, 6: OUTPUT, 7: bytes}

TEXTS = [
    "",
    "timeout",
    "priority",
    "sequence_id",
    "classification",
    "shared_memory_region",
    "shared_memory_",
    "shared",
    "INT8",
    "BYTES",
    "0",
    "12",
    "007",
    "-1",
    "1e3",
    "18446744073709551615",
    "18446744073709551616",
    "9" * 30,
    "é",
    "日本",
    "\U0010ffff",
    "a" * 7 + "é",
    "a" * 8,
    "\0",
    "x" * 130,
]
BAD_TEXTS = [
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"a" * 8 + b"\xc3",
    b"\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
]
NUMBERS = [0, 1, 2, 127, 128, 255, 256, 300, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]


def varint(value: int, size: int = 0) -> bytes:
    """The shortest encoding, or a longer one of `size` bytes."""
    out: list[int] = []
    while value >= 0x80 or len(out) + 1 < size:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def tag(field: int, wire: int) -> bytes:
    return varint(field << 3 | wire)


def delimited(field: int, payload: bytes) -> bytes:
    return tag(field, LEN) + varint(len(payload)) + payload


def wire_types(kind: Any) -> frozenset[int]:
    """The wire types that a declared field takes; any other makes it an unknown field."""
    if isinstance(kind, list):
        return frozenset({kind[0], LEN})
    return frozenset({kind if isinstance(kind, int) else LEN})


def groups(depth: int, field: int = 8) -> bytes:
    return tag(field, GROUP) * depth + tag(field, END) * depth


class Writer:
    def __init__(self, random: Random, damage: bool = False) -> None:
        self.random = random
        self.damage = damage

    def chance(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def tag(self, field: int, wire: int) -> bytes:
        key = field << 3 | wire
        if self.damage and self.chance(100):
            key = self.random.choice([wire, key | 6, key | 7, key | 1 << 32])
        size = self.random.randint(2, 5) if self.chance(20) else 0
        return varint(key, 6 if self.damage and self.chance(200) else size)

    def varint(self) -> bytes:
        value = self.random.choice(NUMBERS) if self.chance(2) else self.random.getrandbits(self.random.randint(1, 64))
        size = 0
        if self.chance(10):
            size = self.random.randint(1, 10)
        if self.chance(40):
            value, size = value | self.random.getrandbits(6) << 64, 10  # bits past the 64th
        return varint(value, 11 if self.damage and self.chance(100) else size)

    def length(self, size: int) -> bytes:
        if self.damage and self.chance(60):
            size = self.random.choice([size + 1, max(size - 1, 0), 2**31 - 1, 2**31, 2**32 + size, 2**63, 2**64 - 1])
        return varint(size, self.random.randint(1, 10) if self.chance(20) else 0)

    def delimited(self, field: int, payload: bytes) -> bytes:
        return self.tag(field, LEN) + self.length(len(payload)) + payload

    def text(self) -> bytes:
        if self.damage and self.chance(40):
            return self.random.choice(BAD_TEXTS)
        return self.random.choice(TEXTS).encode()

    def noise(self) -> bytes:
        return self.random.randbytes(self.random.randint(0, 12))

    def scalar(self, wire: int) -> bytes:
        return self.varint() if wire == VARINT else self.random.randbytes(8 if wire == I64 else 4)

    def unknown(self, field: int, taken: frozenset[int] = frozenset(), depth: int = 0) -> bytes:
        """A field of an undeclared number, or of a declared one with a wire type that the declaration does not take."""
        wire = self.random.choice(sorted({VARINT, I64, LEN, GROUP, I32} - taken))
        if wire == LEN:
            return self.delimited(field, self.noise())
        if wire != GROUP:
            return self.tag(field, wire) + self.scalar(wire)
        if self.chance(20):
            return groups(self.random.choice([50, 90] + [97, 98, 99, 100, 101] * self.damage), field)
        fields = self.random.randint(0, 2) if depth < 3 else 0
        inside = b"".join(self.unknown(self.random.randint(1, 20), depth=depth + 1) for _ in range(fields))
        return self.tag(field, GROUP) + inside + self.tag(field + (self.damage and self.chance(30)), END)

    def field(self, number: int, kind: Any) -> bytes:
        if kind is str:
            return self.delimited(number, self.text())
        if kind is bytes:
            return self.delimited(number, self.noise())
        if isinstance(kind, dict):
            return self.delimited(number, self.message(kind))
        if isinstance(kind, int):
            return self.tag(number, kind) + self.scalar(kind)
        if self.chance(2):
            return self.tag(number, kind[0]) + self.scalar(kind[0])
        packed = b"".join(self.scalar(kind[0]) for _ in range(self.random.choice([0, 1, 2, 3, 9])))
        if self.damage and self.chance(40):
            packed += b"\x80"
        return self.delimited(number, packed)

    def message(self, kind: dict[int, Any]) -> bytes:
        """Fields in any order, each any number of times."""
        out = []
        for _ in range(self.random.choice([0, 1, 2, 3, 5, 8])):
            number = self.random.choice(list(kind))
            if not self.chance(12):
                out.append(self.field(number, kind[number]))
            elif self.chance(2):
                out.append(self.unknown(number, wire_types(kind[number])))
            else:
                out.append(self.unknown(self.random.choice([9, 15, 16, 2047, 2**29 - 1])))
        return b"".join(out)

    def answer(self) -> bytes:
        """A ModelInferResponse, whose outputs have the fields of a request's inputs."""
        return self.whole_or_broken(ANSWER)

    def request(self) -> bytes:
        return self.whole_or_broken(REQUEST)

    def whole_or_broken(self, kind: dict[int, Any]) -> bytes:
        message = self.message(kind)
        if not self.damage or self.chance(2):
            return message
        return self.broken(message)

    def broken(self, message: bytes) -> bytes:
        """The message with a few bytes overwritten, put in or cut off."""
        out = bytearray(message)
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randint(0, len(out))
            match self.random.randrange(4):
                case 0:
                    del out[at:]
                case 1:
                    out[at:at] = self.noise()
                case 2:
                    out[at : at + 1] = self.random.choice([b"\0", b"\x7f", b"\x80", b"\xff", self.random.randbytes(1)])
                case 3:
                    del out[at : at + self.random.randint(1, 4)]
        return bytes(out)
