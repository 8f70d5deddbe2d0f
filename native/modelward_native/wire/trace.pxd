# What ties an upstream's records of a request to others': ids of our own, where the client gave none.
from libc.stdint cimport int64_t

cdef enum:
    TRACEPARENT = 55              # "00-", 32 digits, "-", 16 digits, "-00"
    REQUEST_ID = 32               # digits

cdef struct Trace:
    char parent[TRACEPARENT]      # not terminated
    char request_id[REQUEST_ID]   # not terminated

# What is made for one exchange is always the same but for the span, so that a retry or a hedge belongs to the same trace.
# exchange: its address. attempt: counts the sends.
cdef void make_trace(Trace *to, const void *exchange, int64_t entered, int64_t attempt) noexcept
