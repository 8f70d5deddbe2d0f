"""Last good answers of one model: a fixed table, each request in one place, the latest answer wins.

An answer is given again only to the caller that had it, for a request of which the backend would see the same. An embedded
model sees tensors and the outputs asked for. An upstream sees the whole message, who calls and the client's metadata: only
what is new with every call (ids of traces, attempts) is left out of the key. Were an answer given to others, a caller that
guesses could learn what they have asked.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset, strlen

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.grpc cimport buffer_free, buffer_reserve
from modelward_native.limits.limit cimport MW_LEVEL_IDENTITY, MW_LEVEL_PEER, Limiter, mw_level
from modelward_native.request.model cimport LastGood, LastGoodAnswer, Model
from modelward_native.request.protobuf cimport MW_HEADER_BYTES, mw_put_header
from modelward_native.wire.holding cimport grow_beside, pay_for

cdef extern from *:
    """
    #define _GNU_SOURCE 1
    #include <string.h>
    static int mw_holds(const void *data, size_t size, const char *text) {
        return size && memmem(data, size, text, strlen(text)) != NULL;
    }
    """
    bint mw_holds(const void *data, size_t size, const char *text) noexcept nogil

cdef enum:
    REQUEST_ID = 3                # field of ModelInferRequest
    LARGEST = 65536               # bytes of an answer that is kept
    PASSING = 15

# Metadata that is new with every call and tells an upstream nothing about the answer: ids of traces, times, attempts.
# docs/how-to/fallbacks.md has the list. A name that ends in "-" stands for all that begin with it; clients cannot send
# metadata named grpc-*.
cdef const char *PASSING_NAMES[PASSING]
PASSING_NAMES[:] = [
    "grpc-", "traceparent", "tracestate", "x-request-id", "x-correlation-id", "x-client-trace-id", "b3", "x-b3-",
    "x-ot-span-context", "x-cloud-trace-context", "x-amzn-trace-id", "uber-trace-id", "x-datadog-",
    "x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms"]


cdef bint is_passing(const uint8_t *name, size_t size) noexcept:
    cdef size_t n
    cdef int i
    for i in range(<int>PASSING):
        n = strlen(PASSING_NAMES[i])
        if size >= n and memcmp(name, PASSING_NAMES[i], n) == 0 and (size == n or PASSING_NAMES[i][n - 1] == 45):
            return True
    return False


cdef bint may_answer_again(const Exchange *x) noexcept:
    """Not where the answer depends on more than the request: on those before it, or on memory that the upstream shares."""
    return not x.sequence and (x.asked.pool == NULL or not mw_holds(x.body.data, x.body.size, "shared_memory_"))


cdef size_t before_id(const Exchange *x) noexcept:
    """Where the field of the id begins in the message. One whose length is written longer than need be keeps its head."""
    cdef uint8_t head[MW_HEADER_BYTES]
    cdef size_t at = x.id.data - x.body.data, n = mw_put_header(head, REQUEST_ID, x.id.size) - head
    return at - n if at >= n and memcmp(x.id.data - n, head, n) == 0 else at


cdef uint64_t hash_message(Limiter limiter, mw_level level, const Exchange *x) noexcept:
    """SipHash of what an upstream sees: the message before its id and behind it, the identity and other metadata."""
    cdef size_t before = x.body.size, after = x.body.size, at = 0, size
    cdef const Buffer *metadata = &x.stream.metadata
    cdef uint64_t state[2]
    cdef uint32_t sizes[2]
    if x.id.data != NULL:
        before = before_id(x)
        after = x.id.data + x.id.size - x.body.data
    state[0] = limiter.hash(level, x.body.data, before) if before else 0
    state[1] = limiter.hash(level, x.body.data + after, x.body.size - after) if after < x.body.size else 0
    state[0] = limiter.hash(level, state, sizeof(state))
    while at + sizeof(sizes) <= metadata.size:
        memcpy(sizes, metadata.data + at, sizeof(sizes))
        size = sizeof(sizes) + sizes[0] + sizes[1]
        if not is_passing(metadata.data + at + sizeof(sizes), sizes[0]):
            state[1] = limiter.hash(level, metadata.data + at, size)
            state[0] = limiter.hash(level, state, sizeof(state))
        at += size
    return state[0]


cdef uint64_t hash_request(Limiter limiter, mw_level level, const Exchange *x) noexcept:
    """SipHash of who asks and of everything that decides the answer; of an embedded model's, tensors, dimensions and the
    outputs asked for."""
    cdef Model *m = x.asked
    cdef uint64_t state[2]
    cdef size_t dims = 0
    cdef unsigned int i
    if m.pool != NULL:
        state[0] = hash_message(limiter, level, x)
        state[1] = x.payers.identity
        return limiter.hash(level, state, sizeof(state))
    state[0] = x.shown | <uint64_t>x.wanteds << 32
    state[1] = x.payers.identity
    state[0] = limiter.hash(level, state, sizeof(state))
    for i in range(m.input_count):
        state[1] = limiter.hash(level, x.view[i].raw.data, x.view[i].raw.size) if x.view[i].raw.size else 0
        state[0] = limiter.hash(level, state, sizeof(state))
        dims += m.inputs[i].rank
    if dims:
        state[1] = limiter.hash(level, x.dims, dims * sizeof(int64_t))
        state[0] = limiter.hash(level, state, sizeof(state))
    if x.wanted != NULL:
        state[1] = limiter.hash(level, x.wanted, x.wanteds)
        state[0] = limiter.hash(level, state, sizeof(state))
    return state[0]


cdef void keep_answer(LastGood *known, Limiter limiter, Exchange *x, const Buffer *framed, int64_t now) noexcept:
    cdef uint64_t a
    cdef LastGoodAnswer *entry
    cdef uint8_t owner
    cdef uint64_t more
    if framed.size > LARGEST or not may_answer_again(x):
        return
    a = hash_request(limiter, MW_LEVEL_PEER, x)
    entry = &known.table[a & (known.size - 1)]
    owner = <uint8_t>(x.payers.identity >> 56)
    if entry.answer.size and entry.owner != owner and now - entry.at <= known.max_age and (
            known.entries_of[owner] + 1 >= known.entries_of[entry.owner]):
        return                # a caller who asks for more and more pushes out its own answers, not another's
    if framed.size > entry.answer.capacity:
        # with no memory left an answer takes the place of another
        more = framed.size - entry.answer.capacity
        if known.held + more > known.memory or buffer_reserve(&entry.answer, framed.size) < 0:
            return
        known.held += more
    if entry.answer.size:
        known.entries_of[entry.owner] -= 1
    known.entries_of[owner] += 1
    entry.owner = owner
    memcpy(entry.answer.data, framed.data, framed.size)
    entry.answer.size = framed.size
    entry.key[0] = a
    entry.key[1] = hash_request(limiter, MW_LEVEL_IDENTITY, x)
    entry.at = now
    known.kept += 1


cdef bint find_answer(LastGood *known, Limiter limiter, Exchange *x, Buffer *framed, int64_t now) noexcept:
    cdef uint64_t a
    cdef LastGoodAnswer *entry
    if not may_answer_again(x):
        return False
    a = hash_request(limiter, MW_LEVEL_PEER, x)
    entry = &known.table[a & (known.size - 1)]
    if entry.answer.size == 0 or entry.key[0] != a or now - entry.at > known.max_age:
        return False
    if entry.key[1] != hash_request(limiter, MW_LEVEL_IDENTITY, x):
        return False
    pay_for(framed, x.body.holder)
    if grow_beside(x.wire, framed, entry.answer.size) < 0:
        return False
    memcpy(framed.data, entry.answer.data, entry.answer.size)
    framed.size = entry.answer.size
    known.answered += 1
    return True


cdef class LastGoodAnswers:
    """entries: answers kept, rounded up to a power of two, of at most 64 KiB each. max_age: ns. memory: bytes of all."""

    def __cinit__(self, uint64_t entries, int64_t max_age, uint64_t memory):
        self.answers.size = 1
        while self.answers.size < entries:
            self.answers.size *= 2
        self.answers.max_age = max_age
        self.answers.memory = memory
        self.answers.table = <LastGoodAnswer *>calloc(self.answers.size, sizeof(LastGoodAnswer))
        if self.answers.table == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef uint64_t i
        if self.answers.table != NULL:
            for i in range(self.answers.size):
                buffer_free(&self.answers.table[i].answer)
        free(self.answers.table)

    def forget(self):
        """Everything: the answers may have been wrong."""
        cdef uint64_t i
        for i in range(self.answers.size):
            self.answers.table[i].answer.size = 0
        memset(self.answers.entries_of, 0, sizeof(self.answers.entries_of))

    @property
    def held(self) -> int:
        """Bytes."""
        return self.answers.held

    @property
    def kept(self) -> int:
        """Answers, since the start."""
        return self.answers.kept

    @property
    def answered(self) -> int:
        """Requests that got one of them."""
        return self.answers.answered
