"""Compressed messages, inflated in pieces: python -m loadtests.fuzz.inflate FOLDER writes the first corpus.

An input is an encoding, a limit, a few steps of (bytes out, bytes in), and a message. However it is inflated,
it must come to the same contents as at once or be refused as it is at once, and contents must be what zlib says.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path

from modelward_native.wire.compression import inflated

HEAD, STEPS, GZIP = 3, 4, 1
LIMITS = [0, 1, 100, 4096, 65_536, 1 << 20]


def play(data: bytes) -> None:
    if len(data) < HEAD + 2 * STEPS:
        return
    is_gzip, limit, count = data[0] & GZIP != 0, LIMITS[data[1] % len(LIMITS)], 1 + data[2] % STEPS
    sizes = data[HEAD : HEAD + 2 * STEPS]
    steps = [(1 + 64 * sizes[2 * i], 1 + sizes[2 * i + 1]) for i in range(count)]
    message = data[HEAD + 2 * STEPS :]
    whole, pieces = inflated(message, is_gzip, limit, []), inflated(message, is_gzip, limit, steps)
    # where it is both too large and damaged, either reason may come first
    assert pieces == whole or (not isinstance(pieces, bytes) and not isinstance(whole, bytes)), (
        f"in steps of {steps} it is not the same"
    )
    expected = plainly(message, is_gzip)
    if isinstance(whole, bytes):
        assert whole == expected, "zlib says something else"
        assert len(whole) <= limit
    else:
        assert expected is None or len(expected) > limit, f"refused as {whole}: {len(expected)} bytes"


def plainly(message: bytes, is_gzip: bool) -> bytes | None:
    """What zlib makes of it; None where that is not one whole stream of a reasonable size."""
    stream = zlib.decompressobj(31 if is_gzip else 15)
    try:
        contents = stream.decompress(message, 1 << 21)
    except zlib.error:
        return None
    return contents if stream.eof and not stream.unused_data else None


def seeds() -> dict[str, bytes]:
    made = {}
    contents = [b"", b"x", b"hello world " * 20, bytes(5000), bytes(range(256)) * 40, bytes(1 << 18)]
    for i, content in enumerate(contents):
        for kind, packed in (
            (GZIP, gzip.compress(content, mtime=0)),
            (0, zlib.compress(content)),
            (0, zlib.compress(content, 0)),
        ):
            for limit in range(len(LIMITS)):
                steps = bytes([255, 255, 0, 0, 9, 30, 255, 1])
                made[f"{i}-{kind}-{len(packed)}-{limit}"] = (bytes([kind, limit, i]) + steps + packed)[:8000]
    # a byte more than nothing, and damaged right behind that
    damaged = b"\x78\x9c\xab\0\0\0\x14\0\x79"
    made["large-and-damaged"] = bytes([0, 0, 1, 255, 2, 8, 0, 9, 30, 255, 1]) + damaged
    return made


def main() -> None:
    folder = Path(sys.argv[1])
    for name, seed in seeds().items():
        (folder / name).write_bytes(seed)


if __name__ == "__main__":
    main()
