"""HTTP/2 frames and gRPC messages written by hand: headers are literals, so that no table ties one frame to another."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITISED, ACK = 1, 4, 8, 32, 1
INITIAL_WINDOW_SIZE = 4

Header = tuple[bytes, bytes]


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values: dict[int, int] | None = None) -> bytes:
    return frame(SETTINGS, 0, b"".join(struct.pack(">HI", key, value) for key, value in (values or {}).items()))


def _integer(value: int, bits: int) -> bytes:
    """RFC 7541, section 5.1, in the low bits of a byte whose others are 0."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    out = bytearray([most])
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def literals(headers: list[Header]) -> bytes:
    """Literal fields without indexing (RFC 7541, section 6.2.2)."""
    return b"".join(b"\0" + _integer(len(name), 7) + name + _integer(len(value), 7) + value for name, value in headers)


def request_headers(path: bytes, more: list[Header] | None = None) -> list[Header]:
    return [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"test"),
        (b"te", b"trailers"), (b"content-type", b"application/grpc"), *(more or []),
    ]  # fmt: skip


def headers(stream: int, fields: list[Header], *, end: bool = False) -> bytes:
    return frame(HEADERS, stream, literals(fields), END_HEADERS | (END_STREAM if end else 0))


def data(stream: int, payload: bytes, *, end: bool = False, size: int = 16384) -> bytes:
    """One frame, or as many as the payload needs."""
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    return b"".join(
        frame(DATA, stream, piece, END_STREAM if end and index == len(pieces) - 1 else 0)
        for index, piece in enumerate(pieces)
    )


def message(payload: bytes, *, compressed: bool = False, size: int | None = None) -> bytes:
    """With gRPC's prefix; size: what the prefix says in place of the truth."""
    return struct.pack(">BI", compressed, len(payload) if size is None else size) + payload
