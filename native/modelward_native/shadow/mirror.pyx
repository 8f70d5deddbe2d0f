"""The tap: which requests a shadow is asked too, and the pairs that its answers make with those of the version asked for.

A request is mirrored when its own outcome is known. So nothing waits for its other half, and what was refused, shed or
answered by the ladder is not mirrored at all. The exchange that asks the shadow holds one reference to the one it mirrors, in
whose memory the request stays: only the primary's answer is copied.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcpy, memset

from modelward_native.shadow.compare cimport (
    MW_DROP_BUSY, MW_DROP_BYTES, MW_DROP_DEADLINE, MW_DROP_PLACES, MW_DROP_VOID, MW_DROP_WAITING, MW_DROP_YIELDED,
    MW_PRIMARY_UNREADABLE, mw_compare_pair, mw_compare_room, mw_comparison, mw_shadow_drop, mw_shadow_fail, mw_shadow_figures,
    mw_shadow_record, mw_window_record)
from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport (
    INLINE_DIMENSIONS, INLINE_TENSORS, PHASE_DONE, Exchange, bytes_held, exchange_new, exchange_unref)
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.holding cimport pay_for
from modelward_native.request.model cimport NO_OUTPUT, Model, Tap
from modelward_native.request.resolve cimport ask
from modelward_native.request.name cimport LONGEST_VERSION
from modelward_native.request.served cimport Served, check_fits
from modelward_native.shadow.shadows cimport ShadowBlock, identity_slice
from modelward_native.wire.stream cimport grow
from modelward_native.request.tensor cimport mw_span, mw_view

cdef enum:
    FRAME = 5                     # bytes before a message
    KEPT_BYTES = 262144           # of a pair that is kept
    SLOWER = 4                    # what the share is divided by for each time that the loop had none to spare

cdef double FASTER = 0.1          # what comes back to it each time that it had
cdef double LEAST = 0.02          # a smaller one is none
cdef int64_t CONTENDED = 60000000000   # ns that callers have shares after one found no room
cdef mw_compare_room room         # where answers are taken apart; the loop's thread alone
cdef mw_comparison found


cdef class Shadow:
    """One shadow of a model under one configuration.

    served: what answers; of an engine that serves nobody else. fingerprint: figures of shadows with another one are not its.
    fraction: share of requests. anomalous: those that are flagged alone, those that are not, or None. patterns: names of
    callers, * stands for any characters; empty: everybody. kinds: what may prove these names: certificate, token, key.
    deadline: ns. places: requests under way. room: their bytes. warmup: pairs that are not counted. tolerance: relative
    difference up to which numbers agree.
    """

    def __init__(self, Served served not None, str name not None, bytes fingerprint not None, *, double fraction=1.0,
                 anomalous=None, patterns=(), kinds=("certificate", "token", "key"), int64_t deadline=1000000000,
                 uint32_t places=64, size_t room=64 << 20, uint64_t warmup=0, double tolerance=0.001):
        self.served = served
        self.model = &served.model
        if self.model.version.size > LONGEST_VERSION:
            raise ValueError(f"the version has {self.model.version.size} bytes, {LONGEST_VERSION} are the most")
        self.name = name
        self.text = name.encode()
        self.fingerprint = fingerprint
        self.fraction = fraction
        self.anomalous = -1 if anomalous is None else bool(anomalous)
        self.patterns = [pattern.encode() for pattern in patterns]
        self.kinds = "".join([kind[0] for kind in kinds]).encode()
        self.deadline = deadline
        self.places = places
        self.room = room
        self.warmup = warmup
        self.tolerance = tolerance

    @property
    def under_way(self) -> tuple:
        """Requests, and bytes that are held for them."""
        return self.inflight, self.held


def mirror(Served served not None, Shadow shadow not None, bytes content not None):
    """The shadow gets the requests for this version, too; to be said before the version is served.

    content: what the version is of: figures of its pairs with the shadow are not those of another content. Raises ValueError
    where a shadow that runs here takes other inputs.
    """
    cdef Model *m = &served.model
    cdef Tap *taps = <Tap *>realloc(m.taps, (m.tap_count + 1) * sizeof(Tap))
    if taps == NULL:
        raise MemoryError
    m.taps = taps
    memset(&taps[m.tap_count], 0, sizeof(Tap))
    served.shadows.append((shadow, content))
    taps[m.tap_count].shadow = <PyObject *>shadow
    m.tap_count += 1
    if shadow.model.pool == NULL:
        order_tensors(served, <Served>shadow.served, &m.taps[m.tap_count - 1])


cdef int order_tensors(Served asked, Served other, Tap *tap) except -1:
    cdef Model *a = &asked.model
    cdef Model *b = &other.model
    cdef uint32_t i
    if a.undecoded:
        raise ValueError("requests for it pass undecoded")
    if a.has_batch_axis != b.has_batch_axis:
        raise ValueError("the two do not agree on whether the first dimension is the batch")
    ours = {spec[0]: k for k, spec in enumerate(asked.engine.inputs)}
    theirs = {spec[0]: k for k, spec in enumerate(other.engine.outputs)}
    tap.inputs = <uint32_t *>malloc(max(b.input_count, <uint32_t>1) * sizeof(uint32_t))
    tap.outputs = <uint32_t *>malloc(max(a.output_count, <uint32_t>1) * sizeof(uint32_t))
    if tap.inputs == NULL or tap.outputs == NULL:
        raise MemoryError
    for i, spec in enumerate(other.engine.inputs):
        if spec[0] not in ours or a.inputs[<uint32_t>ours[spec[0]]].optional:
            raise ValueError(f"it takes an input '{spec[0]}', which a request need not have")
        check_fits(asked.engine.inputs[ours[spec[0]]], spec, "input")
        tap.inputs[i] = ours[spec[0]]
    for i, spec in enumerate(asked.engine.outputs):
        tap.outputs[i] = theirs.get(spec[0], NO_OUTPUT)
    return 0


# ---- which ---------------------------------------------------------------------------------------------------

cdef double drawn(Mirrors *mirrors) noexcept:
    """In [0, 1), by Marsaglia's xorshift."""
    cdef uint64_t r = mirrors.random
    r ^= r << 13
    r ^= r >> 7
    r ^= r << 17
    mirrors.random = r
    return (r >> 11) / 9007199254740992.0


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


cdef mw_span message_of(const Exchange *x, const Buffer *reply) noexcept:
    """The ModelInferResponse in x's framed answer; in a stream it is the only field of another message."""
    cdef mw_span message
    cdef size_t at = FRAME
    if x.streaming:
        at += 1
        while at < reply.size and reply.data[at] & 128:
            at += 1
        at += 1
    message.data = reply.data + at
    message.size = reply.size - at if at < reply.size else 0
    return message


cdef bint has_room(Shadow shadow, size_t own, size_t more, size_t used, size_t limit, int64_t now) noexcept:
    """Whether a caller who holds `own` may have so many more of the limit.

    One caller alone may have all. When another finds no room, for a minute each may hold no more than is free, as of what
    else all share (modelward_native/wire/holders.h): the first one's copies end, and there is room for the others'.
    """
    if used + more > limit:
        if own == 0:
            shadow.contended = now + CONTENDED
        return False
    return own == 0 or now >= shadow.contended or own + more <= limit - used - more


cdef Exchange *mirrored(Mirrors *mirrors, Tap *tap, Exchange *x, const Buffer *reply, int64_t took, int64_t now) noexcept:
    cdef Shadow shadow = <Shadow>tap.shadow
    cdef ShadowBlock *block = tap.block
    cdef const Model *asked = x.asked
    cdef mw_span message
    cdef size_t size
    cdef mw_shadow_drop why
    cdef uint32_t part = part_of(x.payers.identity)
    cdef Exchange *y
    if block == NULL or not concerns(shadow, x) or (shadow.fraction < 1 and drawn(mirrors) >= shadow.fraction):
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
    elif not has_room(shadow, shadow.inflight_of[part], 1, shadow.inflight, shadow.places, now):
        why = MW_DROP_PLACES
    # the second half of the budget of all is the clients' alone
    elif (not has_room(shadow, shadow.held_of[part], size, shadow.held, shadow.room, now)
            or 2 * (bytes_held(x.wire.slots) + size) > x.wire.inflight_limit):
        why = MW_DROP_BYTES
    else:
        y = copied(shadow, tap, x, message, now)
        if y != NULL:
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


cdef mw_shadow_figures *caller_slice(ShadowBlock *block, const Exchange *x) noexcept:
    if x.stream == NULL or x.stream.caller == NULL or x.stream.caller.name == NULL:
        return identity_slice(block, NULL, NULL, 0)
    return identity_slice(block, x.stream.caller.kind, x.stream.caller.name, x.stream.caller.name_size)


cdef Exchange *copied(Shadow shadow, Tap *tap, Exchange *x, mw_span message, int64_t now) noexcept:
    """NULL for want of memory."""
    cdef Exchange *y = exchange_new(x.wire)
    if y == NULL:
        return NULL
    x.references += 1
    y.mirrors = x
    y.tap = tap
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
            tap.inputs != NULL and not lend_tensors(y, x, tap.inputs, tap.outputs)):
        exchange_unref(y)
        return NULL
    if message.size:
        memcpy(y.reply.data, message.data, message.size)
    y.reply.size = message.size
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
    y.wanteds = wanteds
    return True


# ---- pairs -----------------------------------------------------------------------------------------------------

cdef ShadowBlock *end(Mirrors *mirrors, Exchange *y) noexcept:
    """Gives back what it has taken; its figures."""
    cdef Tap *tap = y.tap
    cdef Shadow shadow = <Shadow>tap.shadow
    cdef uint32_t part = part_of(y.payers.identity)
    cdef size_t size = y.body.size + y.reply.size
    shadow.inflight -= 1
    shadow.held -= size
    shadow.inflight_of[part] -= 1
    shadow.held_of[part] -= size
    unlink_mirror(mirrors, y)
    return tap.block


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


cdef void drop(Mirrors *mirrors, Exchange *y) noexcept:
    end(mirrors, y).side[y.flagged].dropped[<int>MW_DROP_YIELDED] += 1


cdef void pair(Mirrors *mirrors, Exchange *y, const Buffer *reply, bint due, int64_t now) noexcept:
    cdef ShadowBlock *block = end(mirrors, y)
    cdef mw_shadow_figures *side = &block.side[y.flagged]
    cdef mw_shadow_figures *slice = y.slice
    cdef Shadow shadow = <Shadow>y.tap.shadow
    cdef mw_span primary, answer
    cdef int64_t ours, theirs
    if block.warmed < shadow.warmup:
        block.warmed += 1
        return
    if due and mirrors.busy >= y.launched:
        side.dropped[<int>MW_DROP_YIELDED] += 1
        return
    if reply == NULL or y.reply.size == 0:
        mw_shadow_fail(side, y.reply.size == 0, reply == NULL)
        mw_shadow_fail(slice, y.reply.size == 0, reply == NULL)
        mw_shadow_fail(caller_figures(block, y), y.reply.size == 0, reply == NULL)
        return
    primary.data = y.reply.data
    primary.size = y.reply.size
    answer = message_of(y, reply)
    mw_compare_pair(primary, answer, shadow.tolerance, &room, &found)
    if found.status == MW_PRIMARY_UNREADABLE:
        side.dropped[<int>MW_DROP_VOID] += 1
        return
    # where both run here, the time of the runs: in a queue each waits for what others ask
    if y.ran and y.mirrors.ran:
        ours, theirs = y.mirrors.ran, y.ran
    else:
        ours, theirs = y.took, now - y.launched
    mw_shadow_record(side, &found, ours, theirs)
    mw_shadow_record(slice, &found, ours, theirs)
    mw_shadow_record(caller_figures(block, y), &found, ours, theirs)
    mw_window_record(&block.window, &found)
    if found.disagreement > 0:
        keep(mirrors, y, primary, answer, found.disagreement)


cdef inline mw_shadow_figures *caller_figures(ShadowBlock *block, const Exchange *y) noexcept:
    """Of its caller's part, for one more pair."""
    cdef uint32_t part = part_of(y.mirrors.payers.identity)
    block.of_part[part] += 1
    return &block.part[part]


cdef void pace(Mirrors *mirrors, bint busy, int64_t now) noexcept:
    if busy:
        mirrors.busy = now
        mirrors.share = mirrors.share / SLOWER if mirrors.share > LEAST else 0
    else:
        mirrors.share = min(mirrors.share + FASTER, 1.0)


# ---- samples ---------------------------------------------------------------------------------------------------

cdef void keep(Mirrors *mirrors, const Exchange *y, mw_span primary, mw_span answer, double disagreement) noexcept:
    """As long as there is room, for more than one caller's: they are taken once a second."""
    cdef const Model *asked = y.mirrors.asked
    cdef bytes name = (<Shadow>y.tap.shadow).text
    cdef Kept *kept
    cdef mw_span part[5]
    cdef size_t total = 0, at = 0
    cdef uint32_t own = 0
    cdef int i
    for i in range(<int>mirrors.keeps):
        own += mirrors.kept[i].part == part_of(y.payers.identity)
    if mirrors.keeps >= KEPT_MOST or own and own >= KEPT_MOST - mirrors.keeps:
        return
    part[0] = asked.name
    part[1] = mw_span(<const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    part[2] = mw_span(y.body.data, y.body.size)
    part[3] = primary
    part[4] = answer
    for i in range(5):
        total += part[i].size
    if total > KEPT_BYTES:
        return
    kept = &mirrors.kept[mirrors.keeps]
    kept.text = <char *>malloc(total)
    if kept.text == NULL:
        return
    mirrors.keeps += 1
    kept.disagreement = disagreement
    kept.part = part_of(y.payers.identity)
    for i in range(5):
        kept.size[i] = part[i].size
        if part[i].size:
            memcpy(kept.text + at, part[i].data, part[i].size)
        at += part[i].size


cdef void forget_kept(Mirrors *mirrors) noexcept:
    while mirrors.keeps:
        mirrors.keeps -= 1
        free(mirrors.kept[mirrors.keeps].text)


cdef list take_kept(Mirrors *mirrors):
    cdef Kept *kept
    cdef list parts, taken = []
    cdef size_t at
    cdef int k
    while mirrors.keeps:
        mirrors.keeps -= 1
        kept = &mirrors.kept[mirrors.keeps]
        try:
            parts = []
            at = 0
            for k in range(5):
                parts.append(kept.text[at:at + kept.size[k]])
                at += kept.size[k]
            taken.append((parts[0].decode(), parts[1].decode(), kept.disagreement, parts[2], parts[3], parts[4]))
        finally:
            free(kept.text)
    taken.reverse()
    return taken
