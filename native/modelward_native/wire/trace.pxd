# What ties an upstream's records of a request to others': ids of our own, where the client gave none.
from libc.stdint cimport int64_t, uint8_t

cdef enum:
    TRACEPARENT = 55              # "00-", 32 digits, "-", 16 digits, "-00"
    REQUEST_ID = 32               # digits

cdef struct Trace:
    char parent[TRACEPARENT]      # not terminated
    char request_id[REQUEST_ID]   # not terminated

# What is made for one exchange is always the same but for the span, so that a retry or a hedge belongs to the same trace.
# exchange: its address. attempt: counts the sends.
cdef void make_trace(Trace *to, const void *exchange, int64_t entered, int64_t attempt) noexcept

# Trace id and parent id of a traceparent's value, 24 bytes. False where it is none.
cdef bint parse_traceparent(uint8_t *to, const uint8_t *value, size_t size) noexcept
