"""Header blocks and messages that the attacks are made of."""

from __future__ import annotations

from functools import cache

import numpy as np

from loadtests.fuzz.frames import END_HEADERS, END_STREAM, Header, frame, literals, request_headers
from loadtests.fuzz.frames import HEADERS as HEADERS_FRAME
from loadtests.tools.client import framed, request

INFER = b"/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = b"/inference.GRPCInferenceService/ModelStreamInfer"
ADD, AMPLIFIER = "add", "amplifier"
FIRST, STEP = 1, 2  # a client's stream ids


@cache
def block(path: bytes = INFER) -> bytes:
    return literals(request_headers(path))


def opening(stream: int, path: bytes = INFER, more: list[Header] | None = None, *, end: bool = False) -> bytes:
    """A HEADERS frame that begins a request."""
    fields = block(path) + (literals(more) if more else b"")
    return frame(HEADERS_FRAME, stream, fields, END_HEADERS | (END_STREAM if end else 0))


@cache
def good() -> bytes:
    """A framed request that is answered in 70 bytes."""
    encoded: bytes = request(ADD, {"x": np.ones((1, 4), np.float32)}).SerializeToString()
    return framed(encoded)


@cache
def amplified() -> bytes:
    """A framed request of 60 bytes that is answered in 1 MiB."""
    encoded: bytes = request(AMPLIFIER, {"x": np.ones((1, 1), np.float32)}).SerializeToString()
    return framed(encoded)


def streams(count: int, first: int = FIRST) -> range:
    return range(first, first + STEP * count, STEP)
