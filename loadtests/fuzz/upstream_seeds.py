"""The first corpus of upstream_fuzzer.c: python -m loadtests.fuzz.upstream_seeds FOLDER"""

import struct
import sys
from pathlib import Path

SUBMIT_FOUR = bytes([0, 0, 0, 1, 0, 2, 0, 9])
WRITE = bytes([1, 255])
STATUS_NEW, STATUS_KNOWN = b"\x40\x0bgrpc-status\x010", b"\xbe"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def received(data: bytes) -> bytes:
    """The steps of a script in which the upstream sends this."""
    pieces = [data[i : i + 255] for i in range(0, len(data), 255)]
    return b"".join(bytes([6, len(piece)]) + piece for piece in pieces)


def answer(stream: int, trailers: bytes) -> bytes:
    return frame(1, 4, stream, b"\x88") + frame(0, 0, stream, b"\0\0\0\0\x02ab") + frame(1, 5, stream, trailers)


def seeds() -> dict[str, bytes]:
    greeting, asked = frame(4, 0, 0), SUBMIT_FOUR + WRITE
    tight = frame(4, 0, 0, struct.pack(">HIHIHI", 1, 0, 3, 1, 4, 10))
    around = (
        frame(8, 0, 3, struct.pack(">I", 100))
        + frame(8, 0, 0, struct.pack(">I", 100))
        + frame(6, 0, 0, b"12345678")
        + frame(5, 4, 1, b"\0\0\0\2\x82")
    )
    answers = answer(1, STATUS_NEW) + answer(3, STATUS_KNOWN) + answer(5, STATUS_KNOWN)
    split = frame(1, 0, 1, b"\x88") + frame(9, 4, 1, b"\x40\x01a\x01b") + frame(0, 9, 1, b"\x02xx\0\0")
    return {
        "answers": received(greeting) + asked + received(answers) + WRITE,
        "tight": received(tight) + asked + received(answers) + WRITE * 3,
        "split": received(greeting) + asked + received(split),
        "goaway": received(greeting) + asked + received(frame(7, 0, 0, struct.pack(">II", 1, 0))) + WRITE,
        "reset": received(greeting) + asked + received(frame(3, 0, 1, struct.pack(">I", 7)) + around),
        "let_go": asked + received(greeting) + bytes([2, 1]) + WRITE + received(answers) + WRITE,
    }


def main() -> None:
    folder = Path(sys.argv[1])
    for name, script in seeds().items():
        (folder / name).write_bytes(script)


if __name__ == "__main__":
    main()
