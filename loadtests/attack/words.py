"""Text that strangers choose: labels of metrics, lines of logs, and what errors tell them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from loadtests.attack.attack import Outcome, attack
from loadtests.attack.payloads import Case, ask, compressed, floats, lengths, many, shapes, strings, tensors
from loadtests.attack.raw import Raw, Target
from loadtests.attack.requests import good, opening, streams
from loadtests.fuzz.frames import DATA, END_STREAM, Header, data, frame
from loadtests.tools.client import framed
from modelward.rpc.protocol import message_class

NAMES = 10_000
BATCH = 100  # within limits.streams
ANSI = "\x1b[31m\x1b]0;owned\x07"


def _names(count: int, seed: int) -> Iterable[str]:
    rng = random.Random(seed)
    for i in range(count):
        yield f"{rng.getrandbits(64):x}{ANSI}\r\nERROR forged {i}\u202e"


def named(name: str) -> bytes:
    message: Any = message_class("inference.ModelInferRequest")(model_name=name, id=name)
    message.inputs.add(name=name, datatype=name, shape=[1])
    encoded: bytes = message.SerializeToString()
    return framed(encoded)


def _many(target: Target, requests: Iterable[bytes], outcome: Outcome) -> Outcome:
    """Whole requests, as many at a time as a connection may have streams. requests: each is frames for stream 0."""
    with target.connect() as raw:
        raw.greet()
        pending = list(requests)
        for start in range(0, len(pending), BATCH):
            if not raw.send(b"".join(pending[start : start + BATCH])):
                break
            outcome.sent += len(pending[start : start + BATCH])
            raw.read_until_ended(outcome.sent)
        outcome.note(raw, streams_ended=len(raw.ended) >= outcome.sent)
    return outcome


@attack("metrics-flood", f"{NAMES:,} random models, identities and methods, with CR, LF and ANSI in them")
def metrics_flood(target: Target, scale: float) -> Outcome:
    count = round(NAMES * scale)
    third = list(streams(count))
    names = list(_names(count, 1))
    outcome = _many(
        target, (opening(s) + data(s, named(n), end=True) for s, n in zip(third, names, strict=True)), Outcome()
    )
    identities = (
        opening(s, more=[(b"authorization", b"Bearer %d" % i), (b"x-api-key", b"key-%d" % i)])
        + frame(DATA, s, good(), END_STREAM)
        for i, s in enumerate(third)
    )
    methods = (opening(s, b"/no.such.Service/%d" % i) + frame(DATA, s, good(), END_STREAM) for i, s in enumerate(third))
    for requests in (identities, methods):
        more = _many(target, requests, Outcome())
        outcome.sent += more.sent
        outcome.connections += more.connections
        outcome.ended += more.ended
        outcome.statuses.update(more.statuses)
    return outcome


@attack("header-text", "control characters in every header that is read")
def header_text(target: Target, scale: float) -> Outcome:
    """HTTP/2 fields with CR, LF or NUL are malformed: the streams are reset, or the connection ends."""
    bad = [b"a\r\nb", b"a\nb", b"a\0b", b"\x1b[31m", b"\x7f", b"\xff\xfe", b" a ", b"a\x08"]
    names = [b"grpc-timeout", b"grpc-encoding", b"content-type", b"user-agent", b"x-request-id", b"traceparent", b"te"]
    outcome = Outcome()
    for value in bad:
        with target.connect() as raw:
            raw.greet()
            for stream, name in zip(streams(len(names)), names, strict=True):
                raw.send(opening(stream, more=[(name, value)]) + frame(DATA, stream, good(), END_STREAM))
                outcome.sent += 1
            outcome.note(raw, streams_ended=raw.read_until_ended(len(names)))
    return outcome


# what no message to a stranger may hold
TELLING = re.compile(
    r"/(home|root|usr|tmp|var|opt|work|proc|etc)\b|\.py\b|\.pyx\b|\.onnx\b|Traceback|0x[0-9a-f]{6,}|onnxruntime|nghttp2"
    r"|std::|errno|\bat line\b|\bFile \"|localhost|\bORT\b|Status Message|Non-zero",
)


def error_cases(count: int) -> list[Case]:
    gzip: list[Header] = [(b"grpc-encoding", b"gzip")]
    cases: list[Case] = [
        ([], framed(body)) for body in [*shapes()[:12], *strings(), *floats(), *many(), *tensors(count)]
    ]
    cases += lengths()
    cases += [([], named(name)) for name in ("../../etc/passwd", "/root/.ssh", "%s%n%p", "add/../add", "\0", "{0}")]
    cases += [(gzip, compressed(b"\x1f\x8b" + body)) for body in tensors(20)]
    cases += [([(b"grpc-encoding", b"br")], good()), ([(b"grpc-timeout", b"%s")], good())]
    return cases


def told(raw: Raw) -> list[str]:
    """Messages that tell too much; what the client itself has said, in quotes, is not news to it."""
    return [text for text in map(unquote, raw.messages) if TELLING.search(re.sub(r"'[^']*'", "''", text))]


@attack("error-text", "every way to get an error, and the text of each searched for what it should not tell")
def error_text(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    cases = error_cases(round(500 * scale))
    for start in range(0, len(cases), 50):
        with target.connect() as raw:
            raw.greet()
            ask(raw, cases[start : start + 50], outcome, {"0", "3", "4", "5", "8", "12", "13"})
            outcome.wrong += [f"tells {text!r}" for text in told(raw)]
            outcome.note(raw, streams_ended=True)
    return outcome
