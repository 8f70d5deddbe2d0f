"""Messages that lie about what they are: compressed bombs, lengths, shapes, numbers, deadlines.

Each is a request that has to be refused by name, or answered; the connection lives, unless it goes on and on.
"""

from __future__ import annotations

import itertools
import struct
import time
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np

from loadtests.attack.attack import Outcome, attack
from loadtests.attack.raw import Raw, Target
from loadtests.attack.requests import ADD, good, opening
from loadtests.fuzz.frames import Header, data
from loadtests.tools.client import framed
from modelward.rpc.protocol import message_class

BOMBS = 40
MiB = 2**20
GZIP: list[Header] = [(b"grpc-encoding", b"gzip")]
# INTERNAL and UNKNOWN would say that the request has surprised us
CODES = {"0", "3", "4", "5", "8", "9", "12", "13", "14"}

Case = tuple[list[Header], bytes]


def ask(raw: Raw, cases: Iterable[Case], outcome: Outcome, allowed: set[str], first: int = 1) -> None:
    """One request after the other, each waited for. An answer that is not allowed is noted by its place."""
    for place, (more, body) in enumerate(cases):
        stream, before = first + 2 * place, raw.statuses.copy()
        if not raw.send(opening(stream, more=more) + data(stream, body, end=True)):
            return
        outcome.sent += 1
        deadline = time.monotonic() + 10
        while stream not in raw.ended and not raw.closed and time.monotonic() < deadline:
            raw.read(0.005)
        said = raw.statuses - before
        # a body larger than its window may also be reset before it is whole
        if not raw.closed and (stream not in raw.ended or not set(said) <= allowed):
            outcome.wrong.append(f"case {place}: {dict(said) or 'no answer'}")


def _asking(cases: Callable[[float], Iterable[Case]], allowed: set[str]) -> Callable[[Target, float], Outcome]:
    def run(target: Target, scale: float) -> Outcome:
        outcome = Outcome()
        with target.connect() as raw:
            raw.greet()
            ask(raw, cases(scale), outcome, allowed)
            outcome.note(raw, streams_ended=not outcome.wrong)
        return outcome

    run.__module__ = __name__
    return run


@cache
def bomb(size: int = 200 * MiB) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(MiB)) for _ in range(size // MiB)) + packer.flush()


def liar(size: int = 200 * MiB) -> bytes:
    """A bomb whose trailer says that it is small."""
    return bomb(size)[:-4] + struct.pack("<I", 1000)


def compressed(body: bytes) -> bytes:
    return struct.pack(">BI", 1, len(body)) + body


attack("gzip-bomb", "200 KB that inflate to 200 MB, again and again")(
    _asking(lambda scale: ((GZIP, compressed(bomb())) for _ in range(round(BOMBS * scale))), {"8"})
)
attack("gzip-liar", "the same with a trailer that says 1,000 bytes")(
    _asking(lambda scale: ((GZIP, compressed(liar())) for _ in range(round(BOMBS * scale))), {"13", "8"})
)


def lengths() -> list[Case]:
    """Prefixes that are not the truth."""
    body = good()[5:]
    said = (0, 1, len(body) - 1, len(body) + 1, 2**31, 2**32 - 1, 16 * MiB, 16 * MiB + 1)
    cases: list[Case] = [([], struct.pack(">BI", 0, size) + body) for size in said if size != len(body)]
    cases += [([], good()[:n]) for n in range(6)]
    cases += [([], good() + b"\0"), ([], good() + good()), ([], b"\2" + good()[1:]), ([], compressed(body))]
    cases += [(GZIP, compressed(bytes(20))), (GZIP, compressed(bomb(MiB)[:-1])), (GZIP, compressed(bomb(MiB) + b"x"))]
    return cases


attack("lengths", "lengths that are longer or shorter than the message, up to 4 GiB")(
    _asking(lambda scale: lengths(), {"3", "8", "13"})
)


def shaped(
    shape: Iterable[int], contents: bytes = bytes(16), datatype: str = "FP32", name: str = "x", model: str = ADD
) -> bytes:
    message: Any = message_class("inference.ModelInferRequest")(model_name=model)
    message.inputs.add(name=name, datatype=datatype, shape=list(shape))
    message.raw_input_contents.append(contents)
    encoded: bytes = message.SerializeToString()
    return encoded


def shapes() -> list[bytes]:
    big = 2**62
    dims: list[Iterable[int]] = [
        [big] * 8, [2**32, 2**32], [2**63 - 1, 4], [-1, 4], [-(2**63), 4], [4, -4], [0, 4], [4, 0], [], [1, 4, 1],
        [1] * 17, [1] * 1000, itertools.repeat(1, 10**6), [2**31, 2**31, 4], [2**60, 4], [16, 2**60], [1, 2**62 + 1],
    ]  # fmt: skip
    return [shaped(d) for d in dims]


def strings() -> list[bytes]:
    """BYTES elements whose lengths go past the end."""
    said = (1, 2**31 - 1, 2**31, 2**32 - 1, 5)
    contents = [struct.pack("<I", n) + b"abcd" for n in said] + [b"", b"\0", b"\0\0\0", struct.pack("<I", 0) * 9]
    return [shaped([1, 4], c, "BYTES") for c in contents]


def many() -> list[bytes]:
    """Tensors by the thousand, names by the megabyte, parameters without end."""
    message_type = message_class("inference.ModelInferRequest")
    tensors: Any = message_type(model_name=ADD)
    for i in range(5000):
        tensors.inputs.add(name=f"x{i}", datatype="FP32", shape=[1, 4])
        tensors.raw_input_contents.append(bytes(16))
    named = shaped([1, 4], name="n" * MiB)
    parameters: Any = message_type(model_name=ADD)
    for i in range(20_000):
        parameters.parameters[f"p{i}"].string_param = "v" * 10
    contents: Any = message_type(model_name=ADD)
    contents.raw_input_contents.extend([b""] * 100_000)
    outputs: Any = message_type(model_name=ADD)
    for i in range(5000):
        outputs.outputs.add(name=f"y{i}")
    return [
        m if isinstance(m, bytes) else m.SerializeToString() for m in (tensors, named, parameters, contents, outputs)
    ]


attack("shapes", "dimensions that overflow, vanish, or go on; strings past the end; tensors by the thousand")(
    _asking(lambda scale: (([], framed(body)) for body in [*shapes(), *strings(), *many()]), {"3", "5", "8"})
)


def floats() -> list[bytes]:
    """NaN (quiet, signalling, with payload), infinities, denormals, of every float type, for models of that type."""
    words = {
        "FP16": ("<H", [0x7E00, 0x7C01, 0xFE00, 0x7C00, 0xFC00, 0x0001, 0x8001, 0x03FF]),
        "BF16": ("<H", [0x7FC0, 0x7F81, 0xFFC0, 0x7F80, 0xFF80, 0x0001, 0x8001, 0x007F]),
        "FP32": ("<I", [0x7FC00000, 0x7F800001, 0xFFC00000, 0x7F800000, 0xFF800000, 1, 0x80000001, 0x007FFFFF]),
        "FP64": ("<Q", [0x7FF8 << 48, 0x7FF0 << 48 | 1, 0xFFF8 << 48, 0x7FF0 << 48, 0xFFF0 << 48, 1, 1 << 63 | 1]),
    }
    return [
        shaped([1, 4], struct.pack(form, word) * 4, kind, model=kind)
        for kind, (form, found) in words.items()
        for word in found
    ]


attack("floats", "NaN, infinities and denormals of every float type")(
    _asking(lambda scale: (([], framed(body)) for body in floats()), {"0"})
)

# grpc-timeout: what it must be answered with
DEADLINES: dict[bytes, set[str]] = {
    b"0S": {"4"}, b"0n": {"4"}, b"1n": {"4"}, b"99999999H": {"0"}, b"10S": {"0"}, b"20000000u": {"0"},
    b"-1S": {"3"}, b"123456789012S": {"3"}, b"123456789S": {"3"}, b"": {"3"}, b"S": {"3"}, b"1": {"3"}, b"1s": {"3"},
    b"1.5S": {"3"}, b"+1S": {"3"}, b"0x1S": {"3"}, b"1S1S": {"3"}, b"infS": {"3"}, b"\xff\xffS": {"3"},
    b"9" * 900: {"3"},
}  # fmt: skip


@attack("deadlines", "grpc-timeout of 0, negative, of twelve digits, and garbage")
def deadlines(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.connect() as raw:
        raw.greet()
        for place, (text, allowed) in enumerate(DEADLINES.items()):
            ask(raw, [([(b"grpc-timeout", text)], good())], outcome, allowed, 1 + 2 * place)
        outcome.note(raw, streams_ended=not outcome.wrong)
    return outcome


def tensors(count: int) -> list[bytes]:
    """Random bytes in place of messages: what a scanner makes of them must be a status."""
    rng = np.random.default_rng(0)
    return [rng.bytes(int(size)) for size in rng.integers(0, 400, count)]


attack("garbage", "random bytes in place of messages")(
    _asking(lambda scale: (([], framed(body)) for body in tensors(round(1000 * scale))), {"3", "5", "12"})
)
