"""Which requests a shadow is asked too, and the copy that asks it.

A request is mirrored when its own outcome is known. So nothing waits for its other half, and what was refused, shed or
answered by the fallback chain is not mirrored at all. The exchange that asks the shadow holds one reference to the one it
mirrors, in whose memory the request stays: only the primary's answer is copied.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport malloc
from libc.string cimport memchr, memcmp, memcpy

from modelward_native.backend.random cimport next_random
from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport (
    INLINE_DIMENSIONS, INLINE_TENSORS, PHASE_DONE, Exchange, exchange_new, exchange_unref)
from modelward_native.region.region cimport bytes_held
from modelward_native.request.hidden_outputs cimport drop_from
from modelward_native.request.model cimport NO_OUTPUT, Model, ShadowLink
from modelward_native.stages.resolve cimport ask
from modelward_native.request.tensor cimport mw_span, mw_view
from modelward_native.shadow.shadow cimport Shadow, shadow_of
from modelward_native.shadow.shadows cimport ShadowBlock, identity_slice
from modelward_native.shadow.stats cimport (
    MW_DROP_BUSY, MW_DROP_BYTES, MW_DROP_DEADLINE, MW_DROP_PERMITS, MW_DROP_VOID, MW_DROP_WAITING, mw_shadow_drop,
    mw_shadow_stats)
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.holding cimport grow, pay_for

cdef enum:
    SLOWER = 4                    # what the share is divided by for each time that the loop had none to spare

cdef double FASTER = 0.1          # what comes back to it each time that it had
cdef double LEAST = 0.02          # a smaller one is none
cdef int64_t CONTENDED = 60000000000   # ns that callers have shares after one found no room


# ---- which requests

cdef double drawn(Mirrors *mirrors) noexcept:
    """In [0, 1)."""
    return (next_random(&mirrors.random) >> 11) / 9007199254740992.0


cdef bint fits(const char *pattern, size_t size, const char *name, size_t length) noexcept:
    cdef size_t p = 0, n = 0, star = size, again = 0
    while n < length:
        if p < size and pattern[p] == c"*":
            star = p
            again = n
            p += 1
        elif p < size and pattern[p] == name[n]:
            p += 1
            n += 1
        elif star < size:
            p = star + 1
            again += 1
            n = again
        else:
            return False
    while p < size and pattern[p] == c"*":
        p += 1
    return p == size


cdef bint concerns(Shadow shadow, const Exchange *x) noexcept:
    cdef list patterns = shadow.patterns
    cdef object pattern
    if shadow.anomalous >= 0 and shadow.anomalous != x.flagged:
        return False
    if not patterns:
        return True
    if x.stream == NULL or x.stream.caller == NULL or x.stream.caller.name == NULL:
        return False
    if memchr(PyBytes_AS_STRING(shadow.kinds), x.stream.caller.kind[0], PyBytes_GET_SIZE(shadow.kinds)) == NULL:
        return False
    for pattern in patterns:
        if fits(PyBytes_AS_STRING(pattern), PyBytes_GET_SIZE(pattern), x.stream.caller.name, x.stream.caller.name_size):
            return True
    return False


cdef bint asks_twice(Shadow shadow, const Exchange *x) noexcept:
    """The very version of the upstreams, which would take the copy for the sequence's next request. Without a signature,
    which version answers is not known."""
    cdef const mw_span *version = &x.asked.version
    cdef const mw_span *other = &shadow.model.version    # empty: other servers
    if not x.sequence or x.asked.pool == NULL or other.size == 0:
        return False
    return version.size == 0 or (version.size == other.size and memcmp(version.data, other.data, other.size) == 0)


cdef bint has_room(Shadow shadow, size_t own, size_t more, size_t used, size_t limit, int64_t now) noexcept:
    """Whether a caller who holds `own` may have `more` of the limit.

    One caller alone may have all. When another finds no room, for a minute each may hold no more than is free, as of what
    else all share (modelward_native/wire/holders.h): the first one's copies end, and there is room for the others'.
    """
    if used + more > limit:
        if own == 0:
            shadow.contended = now + CONTENDED
        return False
    return own == 0 or now >= shadow.contended or own + more <= limit - used - more


cdef Exchange *mirrored(Mirrors *mirrors, ShadowLink *link, Exchange *x, const Buffer *reply, int64_t took, int64_t now) noexcept:
    cdef Shadow shadow = shadow_of(link)
    cdef ShadowBlock *block = link.block
    cdef const Model *asked = x.asked
    cdef mw_span message
    cdef size_t size
    cdef mw_shadow_drop why
    cdef uint32_t part = part_of(x.payers.identity)
    cdef Exchange *y
    if block == NULL or asks_twice(shadow, x) or not concerns(shadow, x):
        return NULL
    if shadow.fraction < 1 and drawn(mirrors) >= shadow.fraction:
        return NULL
    message.data = NULL
    message.size = 0
    if reply != NULL:
        message = message_of(x, reply)
    size = x.body.size + message.size
    if x.hurried:
        why = MW_DROP_DEADLINE    # of its kind only those that are quick with the primary would make a pair
    elif reply == NULL and took < shadow.deadline and x.due and now >= x.due:
        why = MW_DROP_VOID        # had the client been as patient as we are with the shadow, it might have been answered
    elif asked.gate.waiting.count:
        why = MW_DROP_WAITING
    elif mirrors.share < 1 and drawn(mirrors) >= mirrors.share:
        why = MW_DROP_BUSY
    elif not has_room(shadow, shadow.inflight_of[part], 1, shadow.inflight, shadow.permits, now):
        why = MW_DROP_PERMITS
    # the second half of the budget of all is the clients' alone
    elif (not has_room(shadow, shadow.held_of[part], size, shadow.held, shadow.bytes_limit, now)
            or 2 * (bytes_held(x.wire.slots) + size) > x.wire.inflight_limit):
        why = MW_DROP_BYTES
    else:
        y = copied(shadow, link, x, message, now)
        if y != NULL:
            size = y.body.size + y.reply.size
            shadow.inflight += 1
            shadow.held += size
            shadow.inflight_of[part] += 1
            shadow.held_of[part] += size
            y.slice = caller_slice(block, x)
            y.took = took
            link_mirror(mirrors, y)
            return y
        why = MW_DROP_BYTES
    block.side[x.flagged].dropped[<int>why] += 1
    return NULL


cdef mw_shadow_stats *caller_slice(ShadowBlock *block, const Exchange *x) noexcept:
    if x.stream == NULL or x.stream.caller == NULL or x.stream.caller.name == NULL:
        return identity_slice(block, NULL, NULL, 0)
    return identity_slice(block, x.stream.caller.kind, x.stream.caller.name, x.stream.caller.name_size)


# ---- the copy

cdef Exchange *copied(Shadow shadow, ShadowLink *link, Exchange *x, mw_span message, int64_t now) noexcept:
    """NULL for want of memory."""
    cdef Exchange *y = exchange_new(x.wire)
    if y == NULL:
        return NULL
    x.references += 1
    y.mirrors = x
    y.shadow_link = link
    ask(y, shadow.model)
    y.model = shadow.model
    y.body = x.body
    y.id = x.id
    y.rows = x.rows
    y.empty = x.empty
    y.alone = x.rows == 0
    y.sequence = x.sequence
    y.payers.identity = x.payers.identity    # the caller whose input it is; a copy pays nothing
    y.flagged = x.flagged
    y.entered = now
    y.launched = now
    y.due = now + shadow.deadline
    pay_for(&y.reply, x.body.holder)
    if (message.size and grow(x.wire, &y.reply, message.size) < 0) or (
            link.inputs != NULL and not lend_tensors(y, x, link.inputs, link.outputs)):
        exchange_unref(y)
        return NULL
    if message.size:
        memcpy(y.reply.data, message.data, message.size)
    y.reply.size = message.size
    if message.size and link.inputs == NULL:    # upstreams: what they have is not known, and they are asked in the client's words
        y.reply.size = drop_from(x, y.reply.data, message.size)
    return y


cdef bint lend_tensors(Exchange *y, const Exchange *x, const uint32_t *inputs, const uint32_t *outputs) noexcept:
    cdef const Model *asked = x.asked
    cdef const Model *m = y.asked
    cdef size_t at, to = 0, dims = 0
    cdef uint32_t i, k, own, wanteds = 0
    for i in range(m.input_count):
        dims += m.inputs[i].rank
    y.view = y.inline_view
    y.dims = y.inline_dims
    if m.input_count > INLINE_TENSORS:
        y.view = <mw_view *>malloc(m.input_count * sizeof(mw_view))
    if dims > INLINE_DIMENSIONS:
        y.dims = <int64_t *>malloc(dims * sizeof(int64_t))
    if x.wanted != NULL:
        y.wanted = <uint8_t *>malloc(x.wanteds + 1)
    if y.view == NULL or y.dims == NULL or (x.wanted != NULL and y.wanted == NULL):
        return False
    for i in range(m.input_count):
        own = i if inputs == NULL else inputs[i]
        y.view[i] = x.view[own]
        at = 0
        for k in range(own):
            at += asked.inputs[k].rank
        memcpy(y.dims + to, x.dims + at, m.inputs[i].rank * sizeof(int64_t))
        to += m.inputs[i].rank
    for i in range(x.wanteds if x.wanted != NULL else 0):
        k = x.wanted[i] if outputs == NULL else outputs[x.wanted[i]]
        if k != NO_OUTPUT:
            y.wanted[wanteds] = <uint8_t>k
            wanteds += 1
    y.wanteds = y.shown = wanteds
    return True


cdef void link_mirror(Mirrors *mirrors, Exchange *y) noexcept:
    y.next_in_stream = mirrors.first
    if mirrors.first != NULL:
        mirrors.first.previous_mirror = y
    mirrors.first = y


cdef void unlink_mirror(Mirrors *mirrors, Exchange *y) noexcept:
    if y.previous_mirror != NULL:
        y.previous_mirror.next_in_stream = y.next_in_stream
    else:
        mirrors.first = y.next_in_stream
    if y.next_in_stream != NULL:
        y.next_in_stream.previous_mirror = y.previous_mirror
    y.next_in_stream = NULL
    y.previous_mirror = NULL
    y.phase = PHASE_DONE


cdef void pace(Mirrors *mirrors, bint busy, int64_t now) noexcept:
    if busy:
        mirrors.busy = now
        mirrors.share = mirrors.share / SLOWER if mirrors.share > LEAST else 0
    else:
        mirrors.share = min(mirrors.share + FASTER, 1.0)
