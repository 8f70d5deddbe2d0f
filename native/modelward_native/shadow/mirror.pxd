# Shadows: who else is asked what clients ask, which of it, and what becomes of the answers that nobody sees.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.request.caller cimport CALLERS
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.buffer cimport Buffer
from modelward_native.request.model cimport Model, Tap

cdef enum:
    KEPT_MOST = 16                # pairs that wait to be taken

cdef struct Kept:                 # a pair that disagreed
    char *text                    # owned: names of model and shadow, request, and both answers, one after the other
    size_t size[5]                # of each
    double disagreement
    uint32_t part                 # of the callers, that its own is of

cdef struct Mirrors:              # of one server
    double share                  # of what would be mirrored that there is time for: 0 to 1
    int64_t busy                  # ns; when there last was none to spare
    uint64_t random               # state of the choice: not 0
    Exchange *first               # requests of shadows that are under way: next_in_stream, previous_mirror
    Kept kept[KEPT_MOST]
    uint32_t keeps

cdef class Shadow:
    cdef readonly object served   # modelward_native.request.served.Served that answers
    cdef readonly str name
    cdef bytes text               # the name
    cdef readonly bytes fingerprint
    cdef Model *model             # served's
    cdef double fraction
    cdef int anomalous            # 1: flagged requests alone, 0: all others, -1: both
    cdef list patterns            # of callers' names, as bytes; empty: everybody
    cdef bytes kinds              # first letters of what may prove them
    cdef int64_t deadline         # ns
    cdef uint32_t places
    cdef uint32_t inflight
    cdef size_t room              # bytes
    cdef size_t held              # of requests and answers under way
    cdef uint32_t[<int>CALLERS] inflight_of   # by part of the callers: what one of them holds
    cdef size_t[<int>CALLERS] held_of
    cdef int64_t contended        # ns; until then no caller may hold more than is free
    cdef uint64_t warmup          # pairs that are not counted
    cdef double tolerance

# x has its outcome from the version it asked for: reply, framed, or NULL where that failed, after `took` ns. The request to
# the tap's shadow, with one reference, the caller's, who gives it to a backend; or NULL where it is not to be mirrored now.
cdef Exchange *mirrored(Mirrors *mirrors, Tap *tap, Exchange *x, const Buffer *reply, int64_t took, int64_t now) noexcept
cdef void link_mirror(Mirrors *mirrors, Exchange *y) noexcept
cdef void unlink_mirror(Mirrors *mirrors, Exchange *y) noexcept
# The inputs of the model that y asks, in its order, and of the outputs asked for those that it has; they point into x's.
# inputs, outputs: as of Tap; NULL where the signatures are the same.
cdef bint lend_tensors(Exchange *y, const Exchange *x, const uint32_t *inputs, const uint32_t *outputs) noexcept
# Its end: the answer, framed, or NULL where there is none. due: its time was up. The exchange is done but for its references.
cdef void pair(Mirrors *mirrors, Exchange *y, const Buffer *reply, bint due, int64_t now) noexcept
# Ended by neither: says nothing of the shadow.
cdef void drop(Mirrors *mirrors, Exchange *y) noexcept
# busy: there was no time to spare lately.
cdef void pace(Mirrors *mirrors, bint busy, int64_t now) noexcept
# (model, shadow, disagreement, request, the version's answer, the shadow's), and forgets them.
cdef list take_kept(Mirrors *mirrors)
# Of a server that stops: nobody takes them any more.
cdef void forget_kept(Mirrors *mirrors) noexcept
