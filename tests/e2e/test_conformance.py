"""What RFC 9113 and RFC 7541 ask of a server, section by section, as h2spec asks it.

That is a stream error, a connection error, or that something is ignored. An error may always be treated as one of the
connection (RFC 9113, section 5.4.1).

One answer differs. HEADERS for a stream below the last one are ignored where 5.1.1 asks for a connection error: closed
streams are not remembered, and their late trailers look the same. A flood of them is one of frames
(modelward_native/wire/flood.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from loadtests.attack.raw import Raw, Target
from loadtests.attack.requests import STREAM_INFER, block, good, opening
from loadtests.fuzz.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITISED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    data,
    frame,
    literals,
)
from tests import models
from tests.support import EmbeddedServer, serving

PROTOCOL, FLOW_CONTROL, STREAM_CLOSED, FRAME_SIZE, COMPRESSION = 1, 3, 5, 6, 9
OPEN, HALF_CLOSED = opening(1, STREAM_INFER), opening(1, STREAM_INFER, end=True)
MALFORMED = {PROTOCOL}


def word(value: int) -> bytes:
    return struct.pack(">I", value)


def fields(*more: tuple[bytes, bytes]) -> bytes:
    return frame(HEADERS, 1, block() + literals(list(more)), END_HEADERS | END_STREAM)


ERRORS: dict[str, tuple[bytes, set[int]]] = {
    "4.2 a frame over the largest size": (OPEN + frame(DATA, 1, bytes(16_385)), {FRAME_SIZE}),
    "4.3 a broken header block": (frame(HEADERS, 1, b"\x40", END_HEADERS | END_STREAM), {COMPRESSION}),
    "4.3 PRIORITY within a header block": (frame(HEADERS, 1, block()) + frame(PRIORITY, 1, bytes(5)), {PROTOCOL}),
    "4.3 HEADERS within a header block": (frame(HEADERS, 1, block()) + opening(3), {PROTOCOL}),
    "5.1 idle: DATA": (frame(DATA, 1, b"x"), {PROTOCOL}),
    "5.1 idle: RST_STREAM": (frame(RST_STREAM, 1, word(8)), {PROTOCOL}),
    "5.1 idle: WINDOW_UPDATE": (frame(WINDOW_UPDATE, 1, word(1)), {PROTOCOL}),
    "5.1 idle: CONTINUATION": (frame(CONTINUATION, 1, block(), END_HEADERS), {PROTOCOL}),
    "5.1 half-closed: DATA": (HALF_CLOSED + frame(DATA, 1, b"x"), {STREAM_CLOSED}),
    "5.1 half-closed: HEADERS": (HALF_CLOSED + opening(1), {STREAM_CLOSED, PROTOCOL}),
    "5.1.1 an even stream": (opening(2), {PROTOCOL}),
    "6.1 DATA on stream 0": (frame(DATA, 0, b"x"), {PROTOCOL}),
    "6.1 padding longer than the frame": (OPEN + frame(DATA, 1, b"\x10x", PADDED), {PROTOCOL}),
    "6.2 HEADERS on stream 0": (frame(HEADERS, 0, block(), END_HEADERS), {PROTOCOL}),
    "6.2 padding longer than the frame": (frame(HEADERS, 1, b"\xff" + block(), END_HEADERS | PADDED), {PROTOCOL}),
    "6.3 PRIORITY on stream 0": (frame(PRIORITY, 0, bytes(5)), {PROTOCOL}),
    "6.3 PRIORITY of four bytes": (OPEN + frame(PRIORITY, 1, bytes(4)), {FRAME_SIZE}),
    "6.4 RST_STREAM on stream 0": (frame(RST_STREAM, 0, word(8)), {PROTOCOL}),
    "6.4 RST_STREAM of three bytes": (OPEN + frame(RST_STREAM, 1, bytes(3)), {FRAME_SIZE}),
    "6.5 SETTINGS on a stream": (frame(SETTINGS, 1), {PROTOCOL}),
    "6.5 an acknowledgement with a payload": (frame(SETTINGS, 0, bytes(6), 1), {FRAME_SIZE}),
    "6.5 SETTINGS of five bytes": (frame(SETTINGS, 0, bytes(5)), {FRAME_SIZE}),
    "6.5.2 ENABLE_PUSH of 2": (frame(SETTINGS, 0, struct.pack(">HI", 2, 2)), {PROTOCOL}),
    "6.5.2 a window of 2^31": (frame(SETTINGS, 0, struct.pack(">HI", 4, 2**31)), {FLOW_CONTROL}),
    "6.5.2 frames of 16,383 bytes": (frame(SETTINGS, 0, struct.pack(">HI", 5, 16_383)), {PROTOCOL}),
    "6.6 PUSH_PROMISE of a client": (OPEN + frame(PUSH_PROMISE, 1, word(2) + block(), END_HEADERS), {PROTOCOL}),
    "6.7 PING on a stream": (frame(PING, 1, bytes(8)), {PROTOCOL}),
    "6.7 PING of six bytes": (frame(PING, 0, bytes(6)), {FRAME_SIZE}),
    "6.8 GOAWAY on a stream": (frame(GOAWAY, 1, bytes(8)), {PROTOCOL}),
    "6.9 WINDOW_UPDATE of 0 on the connection": (frame(WINDOW_UPDATE, 0, word(0)), {PROTOCOL}),
    "6.9 WINDOW_UPDATE of 0 on a stream": (OPEN + frame(WINDOW_UPDATE, 1, word(0)), {PROTOCOL}),
    "6.9 WINDOW_UPDATE of three bytes": (frame(WINDOW_UPDATE, 0, bytes(3)), {FRAME_SIZE}),
    "6.9.1 a connection's window over 2^31": (frame(WINDOW_UPDATE, 0, word(2**31 - 1)) * 2, {FLOW_CONTROL}),
    "6.9.1 a stream's window over 2^31": (OPEN + frame(WINDOW_UPDATE, 1, word(2**31 - 1)) * 2, {FLOW_CONTROL}),
    "6.10 CONTINUATION on another stream": (
        frame(HEADERS, 1, block()) + frame(CONTINUATION, 3, b"", END_HEADERS),
        {PROTOCOL},
    ),
    "6.10 CONTINUATION behind END_HEADERS": (OPEN + frame(CONTINUATION, 1, b"", END_HEADERS), {PROTOCOL}),
    "8.1 trailers that end nothing": (OPEN + frame(HEADERS, 1, literals([(b"x", b"y")]), END_HEADERS), MALFORMED),
    "8.2 a name in capitals": (fields((b"X-Y", b"z")), MALFORMED),
    "8.2.2 connection: keep-alive": (fields((b"connection", b"keep-alive")), MALFORMED),
    "8.2.2 te: gzip": (fields((b"te", b"gzip")), MALFORMED),
    "8.3 an unknown pseudo-header": (fields((b":x", b"y")), MALFORMED),
    "8.3 a pseudo-header behind fields": (fields((b":path", b"/")), MALFORMED),
    "8.3.1 no :path": (
        frame(HEADERS, 1, literals([(b":method", b"POST"), (b":scheme", b"http")]), END_HEADERS | END_STREAM),
        MALFORMED,
    ),
    "8.1.1 a content-length that is not the body's": (
        opening(1, more=[(b"content-length", b"1")]) + data(1, good(), end=True),
        MALFORMED,
    ),
    "7541 2.3.3 an index beyond the tables": (frame(HEADERS, 1, b"\xff\xff\x7f", END_HEADERS), {COMPRESSION}),
    "7541 4.2 a table size above the setting": (frame(HEADERS, 1, b"\x3f\xe1\xff\x03" + block(), 5), {COMPRESSION}),
    "7541 5.2 padding of a Huffman code": (frame(HEADERS, 1, b"\x00\x81\x00\x81\x00", END_HEADERS), {COMPRESSION}),
    "7541 6.1 index 0": (frame(HEADERS, 1, b"\x80", END_HEADERS), {COMPRESSION}),
}
IGNORED: dict[str, bytes] = {
    "4.1 an unknown type": frame(0xBE, 0, b"what?"),
    "5.1 PRIORITY of an idle stream": frame(PRIORITY, 7, word(0) + b"\x10"),
    "5.1.1 a stream below the last (differs)": opening(5, STREAM_INFER) + opening(3),
    "5.3 priority in HEADERS": frame(HEADERS, 1, word(0) + b"\x10" + block(STREAM_INFER), END_HEADERS | PRIORITISED),
    "5.5 an unknown flag": frame(PING, 0, b"pingpong", 0x40),
    "6.5.2 an unknown setting": frame(SETTINGS, 0, struct.pack(">HI", 0xBE, 1)),
    "6.7 PING acknowledged unasked": frame(PING, 0, b"pingpong", 1),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with serving(tmp_path_factory.mktemp("conformance"), {"add": models.add_one()}) as running:
        yield running


@pytest.fixture
def raw(server: EmbeddedServer) -> Iterator[Raw]:
    host, port = server.grpc.rsplit(":", 1)
    with Target(host, int(port)).connect() as connected:
        connected.greet()
        yield connected


@pytest.mark.parametrize("section", ERRORS)
def test_an_error_is_told_as_the_section_says(raw: Raw, section: str) -> None:
    frames, codes = ERRORS[section]
    raw.send(frames)
    for _ in range(100):
        if raw.goaway is not None or raw.resets or raw.closed:
            break
        raw.read(0.02)
    assert ({raw.goaway} if raw.goaway is not None else set(raw.resets)) & codes
    assert raw.goaway in codes | {None}


@pytest.mark.parametrize("section", IGNORED)
def test_what_is_to_be_ignored_is(raw: Raw, section: str) -> None:
    raw.send(IGNORED[section] + opening(9) + data(9, good(), end=True))
    raw.read_until_ended(1)
    assert raw.statuses == {"0": 1}
    assert not raw.closed and raw.goaway is None
