# Inference requests that have ended, sampled, until the control plane writes them down. While it is off, each costs a branch.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from modelward_native.backend.random cimport next_random
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport Result
from modelward_native.wire.types cimport Stream

cdef enum:
    ACCESS_ENTRIES = 1024         # that wait to be taken; beyond that, new ones are dropped and counted
    ACCESS_TEXT = 128             # bytes that are kept of a text

cdef enum AccessText:
    TEXT_MODEL = 0
    TEXT_VERSION
    TEXT_IDENTITY
    TEXT_ID                       # the client's request id
    ACCESS_TEXTS

cdef struct AccessEntry:
    int64_t at                    # monotonic ns
    int64_t took                  # ns, from the headers to the end
    uint64_t request_bytes        # of the message, decompressed
    uint64_t reply_bytes
    double score                  # where `scored`
    int status                    # gRPC status
    int reason                    # enum Reason of the refusal, or REASON_NONE
    int fallback_reason           # enum Reason for which a fallback answered, or REASON_NONE
    bint scored
    bint flagged
    uint8_t step                  # mw_step of its caller
    bint streaming                # a message of ModelStreamInfer
    bint traced
    uint8_t trace[24]             # trace id and parent id of the client's traceparent, where `traced`
    const char *proof             # static: how the identity was proved; NULL for none
    size_t size[<int>ACCESS_TEXTS]
    char text[<int>ACCESS_TEXTS][ACCESS_TEXT]

cdef struct AccessLog:
    AccessEntry *ring             # owned; NULL: off
    uint64_t random               # state of the choice: not 0
    uint64_t chosen               # a request is kept where its random number is at most this
    uint64_t written
    uint64_t read
    uint64_t dropped              # for want of room in the ring

cdef int begin_access_log(AccessLog *log, double share) except -1
cdef void end_access_log(AccessLog *log) noexcept
# At most so many, the oldest first, as tuples in the order of AccessEntry; and forgets them.
cdef list access_taken(AccessLog *log, uint64_t most)

cdef void keep_access(AccessLog *log, const Exchange *x, const Result *r, int64_t now) noexcept
cdef void keep_refusal(AccessLog *log, const Stream *s, const Verdict *v) noexcept


cdef inline void log_access(AccessLog *log, const Exchange *x, const Result *r, int64_t now) noexcept:
    if log.ring != NULL and next_random(&log.random) <= log.chosen:
        keep_access(log, x, r, now)


cdef inline void log_refusal(AccessLog *log, const Stream *s, const Verdict *v) noexcept:
    """Of a call that was refused before it was an exchange."""
    if log.ring != NULL and next_random(&log.random) <= log.chosen:
        keep_refusal(log, s, v)
