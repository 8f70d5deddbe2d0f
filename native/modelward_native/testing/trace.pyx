"""The ids that are made for requests without: for tests."""
from libc.stdint cimport int64_t, uint8_t

from modelward_native.wire.trace cimport REQUEST_ID, TRACEPARENT, Trace, make_trace, parse_traceparent


def made(size_t exchange, int64_t entered, int64_t attempt) -> tuple[str, str]:
    """(traceparent, x-request-id) as an upstream would see them."""
    cdef Trace t
    make_trace(&t, <const void *>exchange, entered, attempt)
    return t.parent[:TRACEPARENT].decode(), t.request_id[:REQUEST_ID].decode()


def parsed(bytes value not None) -> bytes:
    """Trace id and parent id; empty where the value is no traceparent."""
    cdef uint8_t found[24]
    if not parse_traceparent(found, value, len(value)):
        return b""
    return (<const char *>found)[:24]
