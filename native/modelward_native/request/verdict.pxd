# Why a request was not simply answered, and what the wire says about it: the one place that maps reasons to status.
from libc.stdint cimport int64_t

cdef enum Code:                   # gRPC status codes
    CODE_OK = 0
    CODE_CANCELLED = 1
    CODE_UNKNOWN = 2
    CODE_INVALID_ARGUMENT = 3
    CODE_DEADLINE_EXCEEDED = 4
    CODE_NOT_FOUND = 5
    CODE_PERMISSION_DENIED = 7
    CODE_RESOURCE_EXHAUSTED = 8
    CODE_FAILED_PRECONDITION = 9
    CODE_ABORTED = 10
    CODE_UNIMPLEMENTED = 12
    CODE_INTERNAL = 13
    CODE_UNAVAILABLE = 14
    CODE_DATA_LOSS = 15
    CODE_UNAUTHENTICATED = 16
    CODES = 17

cdef enum Reason:
    REASON_NONE = 0
    REASON_PEER_LIMIT
    REASON_IDENTITY_LIMIT
    REASON_MODEL_LIMIT
    REASON_TOTAL_LIMIT
    REASON_MESSAGE_TOO_LARGE
    REASON_INFLATED_TOO_LARGE
    REASON_INFLIGHT_BYTES
    REASON_MALFORMED_FRAMING
    REASON_MALFORMED_MESSAGE
    REASON_MALFORMED_TIMEOUT
    REASON_UNSUPPORTED_ENCODING
    REASON_HEADERS_TOO_LARGE
    REASON_UNKNOWN_METHOD
    REASON_UNKNOWN_MODEL
    REASON_UNKNOWN_VERSION
    REASON_INVALID_INPUT
    REASON_UNSUPPORTED_FEATURE
    REASON_ANOMALY
    REASON_DEADLINE
    REASON_SLOW_REQUEST
    REASON_QUEUE_FULL
    REASON_SHED                   # for somebody with a better claim
    REASON_INFEASIBLE             # the deadline would pass while it waits
    REASON_BACKEND_FAILED
    REASON_RUN_MEMORY             # the run wanted more than it may have
    REASON_NO_UPSTREAM
    REASON_OUT_OF_MEMORY
    REASON_UNAUTHENTICATED
    REASON_PERMISSION_DENIED
    REASON_CREDENTIALS_LIMIT      # too many of a peer's credentials were refused
    REASON_ACCESS_BUSY
    REASON_ACCESS_UNAVAILABLE     # the credential cannot be checked now
    REASON_CRASH                  # a process died of inputs of these shapes
    REASON_CANARY                 # the version does not answer as its canary expects
    REASON_NO_VERSION             # the model is there, and none of its versions may answer
    REASON_RELAYED_STREAMS        # of an upstream's streams the caller has its share
    REASON_UPSTREAM_CREDENTIALS   # the upstream does not accept this proxy's own
    REASON_REQUEST_CARDINALITY    # a call of one request message has none, or several
    REASON_UPSTREAM_LOST          # its connection has gone while it had the request
    REASON_RESTRICTED             # its caller is suspected, or an operator restricts it (models.M.detection)
    REASON_OUTPUT_GUARD           # the answer is not as the guards of its outputs say
    REASON_OUTPUT_BUDGET          # the model has given out what it may in this window
    REASONS

cdef enum Retry:                  # may the same request be sent again
    RETRY_NO                      # not without a change
    RETRY_YES
    RETRY_AFTER                   # after the delay in the answer
    RETRY_NOT_AT_ONCE             # gRPC's own retries stop

cdef enum:
    VERDICT_TEXT = 1024
    RETRY_NS = 100000000          # of RETRY_AFTER, where nothing better is known

cdef struct Verdict:
    int reason                    # enum Reason
    int64_t retry_ns              # 0: a retry is pointless or the moment unknown; -1: do not retry (shedding)
    const char *limit             # borrowed; of a refusal by a limit whose text is not written yet: the limit as it was set
    char text[VERDICT_TEXT]       # for the client: cause, limit, when to retry; from a closed list, never an internal

cdef int code_of(int reason) noexcept nogil
cdef const char *name_of(int reason) noexcept nogil
cdef bint may_fall_back(int reason) noexcept nogil
# For want of a right or a credential.
cdef inline bint is_denial(int reason) noexcept nogil:
    return reason == REASON_UNAUTHENTICATED or reason == REASON_PERMISSION_DENIED or reason == REASON_CREDENTIALS_LIMIT

# Of an upstream's status: is the upstream to blame, so that a fallback may answer; and does it count against its version
# (RESOURCE_EXHAUSTED and ABORTED come of load).
cdef bint blames_backend(int code) noexcept nogil
cdef bint is_failure(int code) noexcept nogil
# The reason and the table's advice on retries. The text is the caller's to write, before or after.
cdef void set_reason(Verdict *v, int reason) noexcept nogil
# The same with a text: NULL where it is written later, by stages/reply.explain, which has to know the reason.
cdef void refusal(Verdict *v, int reason, const char *text) noexcept nogil

# A refusal by a rate limit. The wait is rounded up to two digits (at most 99 ms, then tens of ms, ...): waiting a tenth longer
# harms no client, and so few answers differ that they are kept ready (grpc.pyx) and found again by HPACK. The text is left empty
# until `describe` is called.
cdef void over_limit(Verdict *v, int reason, const char *limit, int64_t retry_ns) noexcept nogil
cdef void describe(Verdict *v) noexcept nogil
