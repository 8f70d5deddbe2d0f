"""Reasons of refusal and their gRPC status."""
from libc.stdint cimport int64_t
from libc.stdio cimport snprintf

cdef struct Row:
    int code
    const char *name              # also the value of the metrics' label `reason`
    int retry                     # enum Retry
    bint fallback                 # may the model's fallback chain answer instead, once the request is decoded

cdef Row[<int>REASONS] TABLE


cdef void row(int reason, int code, const char *name, int retry, bint fallback=False) noexcept:
    TABLE[reason].code = code
    TABLE[reason].name = name
    TABLE[reason].retry = retry
    TABLE[reason].fallback = fallback


row(REASON_NONE, CODE_OK, "NONE", RETRY_NO)
# A client that asks for too much gets no fallback: it would be a way around the limit.
row(REASON_PEER_LIMIT, CODE_RESOURCE_EXHAUSTED, "PEER_LIMIT", RETRY_AFTER)
row(REASON_IDENTITY_LIMIT, CODE_RESOURCE_EXHAUSTED, "IDENTITY_LIMIT", RETRY_AFTER)
row(REASON_MODEL_LIMIT, CODE_RESOURCE_EXHAUSTED, "MODEL_LIMIT", RETRY_AFTER)
row(REASON_TOTAL_LIMIT, CODE_RESOURCE_EXHAUSTED, "TOTAL_LIMIT", RETRY_AFTER)
row(REASON_MESSAGE_TOO_LARGE, CODE_RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", RETRY_NO)
row(REASON_INFLATED_TOO_LARGE, CODE_RESOURCE_EXHAUSTED, "INFLATED_TOO_LARGE", RETRY_NO)
# A suspected caller is refused (the step block), or gets the fallback (the step fallback): `divert` says which.
row(REASON_RESTRICTED, CODE_RESOURCE_EXHAUSTED, "RESTRICTED", RETRY_AFTER, True)
row(REASON_RELAYED_STREAMS, CODE_RESOURCE_EXHAUSTED, "RELAYED_STREAMS", RETRY_AFTER)
# Nor does a client whose request is wrong: a fallback would hide the error.
row(REASON_MALFORMED_FRAMING, CODE_INTERNAL, "MALFORMED_FRAMING", RETRY_NO)
row(REASON_MALFORMED_MESSAGE, CODE_INVALID_ARGUMENT, "MALFORMED_MESSAGE", RETRY_NO)
row(REASON_MALFORMED_TIMEOUT, CODE_INVALID_ARGUMENT, "MALFORMED_TIMEOUT", RETRY_NO)
row(REASON_UNSUPPORTED_ENCODING, CODE_UNIMPLEMENTED, "UNSUPPORTED_ENCODING", RETRY_NO)
row(REASON_HEADERS_TOO_LARGE, CODE_RESOURCE_EXHAUSTED, "HEADERS_TOO_LARGE", RETRY_NO)
row(REASON_UNKNOWN_METHOD, CODE_UNIMPLEMENTED, "UNKNOWN_METHOD", RETRY_NO)
row(REASON_REQUEST_CARDINALITY, CODE_UNIMPLEMENTED, "REQUEST_CARDINALITY", RETRY_NO)
row(REASON_UNKNOWN_MODEL, CODE_NOT_FOUND, "UNKNOWN_MODEL", RETRY_NO)
row(REASON_UNKNOWN_VERSION, CODE_NOT_FOUND, "UNKNOWN_VERSION", RETRY_NO)
row(REASON_INVALID_INPUT, CODE_INVALID_ARGUMENT, "INVALID_INPUT", RETRY_NO)
row(REASON_UNSUPPORTED_FEATURE, CODE_UNIMPLEMENTED, "UNSUPPORTED_FEATURE", RETRY_NO)
row(REASON_SLOW_REQUEST, CODE_DEADLINE_EXCEEDED, "SLOW_REQUEST", RETRY_YES)
# Nor does a stranger, however the check of a credential ends.
row(REASON_UNAUTHENTICATED, CODE_UNAUTHENTICATED, "UNAUTHENTICATED", RETRY_NO)
row(REASON_PERMISSION_DENIED, CODE_PERMISSION_DENIED, "PERMISSION_DENIED", RETRY_NO)
row(REASON_CREDENTIALS_LIMIT, CODE_RESOURCE_EXHAUSTED, "CREDENTIALS_LIMIT", RETRY_AFTER)
row(REASON_ACCESS_BUSY, CODE_UNAVAILABLE, "ACCESS_BUSY", RETRY_AFTER)
row(REASON_ACCESS_UNAVAILABLE, CODE_UNAVAILABLE, "ACCESS_UNAVAILABLE", RETRY_AFTER)
# What the service is to blame for, a fallback may answer.
row(REASON_ANOMALY, CODE_FAILED_PRECONDITION, "ANOMALY", RETRY_NO, True)
row(REASON_DEADLINE, CODE_DEADLINE_EXCEEDED, "DEADLINE", RETRY_NO, True)
row(REASON_QUEUE_FULL, CODE_UNAVAILABLE, "QUEUE_FULL", RETRY_NOT_AT_ONCE, True)
row(REASON_SHED, CODE_UNAVAILABLE, "SHED", RETRY_NOT_AT_ONCE, True)
row(REASON_INFEASIBLE, CODE_UNAVAILABLE, "INFEASIBLE", RETRY_NOT_AT_ONCE, True)
row(REASON_BACKEND_FAILED, CODE_INTERNAL, "BACKEND_FAILED", RETRY_YES, True)
row(REASON_RUN_MEMORY, CODE_RESOURCE_EXHAUSTED, "RUN_MEMORY", RETRY_NO, True)
row(REASON_NO_UPSTREAM, CODE_UNAVAILABLE, "NO_UPSTREAM", RETRY_YES, True)
row(REASON_UPSTREAM_LOST, CODE_UNAVAILABLE, "UPSTREAM_LOST", RETRY_YES, True)
row(REASON_CRASH, CODE_UNAVAILABLE, "CRASH", RETRY_NOT_AT_ONCE, True)
row(REASON_CANARY, CODE_UNAVAILABLE, "CANARY", RETRY_NO, True)
row(REASON_NO_VERSION, CODE_UNAVAILABLE, "NO_VERSION", RETRY_NO, True)
row(REASON_UPSTREAM_CREDENTIALS, CODE_UNAVAILABLE, "UPSTREAM_CREDENTIALS", RETRY_NO, True)
row(REASON_OUTPUT_GUARD, CODE_INTERNAL, "OUTPUT_GUARD", RETRY_NO, True)
row(REASON_OUTPUT_BUDGET, CODE_RESOURCE_EXHAUSTED, "OUTPUT_BUDGET", RETRY_AFTER, True)
row(REASON_INFLIGHT_BYTES, CODE_RESOURCE_EXHAUSTED, "INFLIGHT_BYTES", RETRY_AFTER, True)
row(REASON_OUT_OF_MEMORY, CODE_RESOURCE_EXHAUSTED, "OUT_OF_MEMORY", RETRY_AFTER, True)


cdef int code_of(int reason) noexcept nogil:
    return TABLE[reason].code


cdef bint blames_backend(int code) noexcept nogil:
    return code in (CODE_UNKNOWN, CODE_DEADLINE_EXCEEDED, CODE_RESOURCE_EXHAUSTED, CODE_ABORTED, CODE_INTERNAL, CODE_UNAVAILABLE,
                    CODE_DATA_LOSS)


cdef bint is_failure(int code) noexcept nogil:
    return code in (CODE_UNKNOWN, CODE_DEADLINE_EXCEEDED, CODE_INTERNAL, CODE_UNAVAILABLE, CODE_DATA_LOSS)


cdef const char *name_of(int reason) noexcept nogil:
    return TABLE[reason].name


cdef bint may_fall_back(int reason) noexcept nogil:
    return TABLE[reason].fallback


cdef void set_reason(Verdict *v, int reason) noexcept nogil:
    v.reason = reason
    v.limit = b""
    v.retry_ns = -1 if TABLE[reason].retry == RETRY_NOT_AT_ONCE else 0
    if TABLE[reason].retry == RETRY_AFTER:
        v.retry_ns = RETRY_NS


cdef void refusal(Verdict *v, int reason, const char *text) noexcept nogil:
    set_reason(v, reason)
    v.text[0] = 0
    if text != NULL:
        snprintf(v.text, VERDICT_TEXT, "%s", text)


cdef int64_t MILLISECOND = 1000000


cdef void over_limit(Verdict *v, int reason, const char *limit, int64_t retry_ns) noexcept nogil:
    cdef int64_t ms = min(retry_ns // MILLISECOND + (retry_ns % MILLISECOND != 0), <int64_t>86400000), step = 1
    v.reason = reason
    v.limit = limit
    while ms // step >= 100:
        step *= 10
    v.retry_ns = max((ms + step - 1) // step * step, <int64_t>1) * MILLISECOND
    v.text[0] = 0


cdef void describe(Verdict *v) noexcept nogil:
    # the text may depend on reason, limit and wait alone: wire/grpc.pyx keeps texts by these
    cdef const char *whose = "the server's"
    if v.text[0]:
        return
    if v.reason == REASON_PEER_LIMIT:
        whose = "this peer's"
    elif v.reason == REASON_IDENTITY_LIMIT:
        whose = "this identity's"
    elif v.reason == REASON_MODEL_LIMIT:
        whose = "the model's"
    elif v.reason == REASON_CREDENTIALS_LIMIT:
        snprintf(v.text, VERDICT_TEXT, "too many credentials from this peer were refused; retry in %.3f s", v.retry_ns / 1e9)
        return
    if v.reason == REASON_RESTRICTED:
        snprintf(v.text, VERDICT_TEXT, "this model does not answer this caller for a time; retry in %.3f s", v.retry_ns / 1e9)
        return
    snprintf(v.text, VERDICT_TEXT, "over %s limit of %s; retry in %.3f s", whose, v.limit, v.retry_ns / 1e9)


def reasons() -> dict[str, int]:
    """Every reason's name and gRPC status code, in the order of the enum."""
    cdef int i
    return {TABLE[i].name.decode(): TABLE[i].code for i in range(REASONS)}


def table() -> list[tuple[str, int, int, bool]]:
    """Of every reason: its name, its gRPC status code, enum Retry, and whether a fallback may answer instead."""
    cdef int i
    return [(TABLE[i].name.decode(), TABLE[i].code, TABLE[i].retry, TABLE[i].fallback) for i in range(REASONS)]
