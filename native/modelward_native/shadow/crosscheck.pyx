"""Failed requests that another version is asked too: they are evidence only where that one answers them.

Where keys decide who gets which version, a client can find a key for the version that it wants, and send it inputs that fail
on every version. So such a failure says nothing by itself. The other version is asked when the client has its own outcome:
that changes nothing for it. Copies are bounded in number, and of these no caller has more than what is free.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from modelward_native.backend.admit cimport mw_concurrency_free
from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport Exchange, exchange_new, exchange_unref
from modelward_native.region.region cimport bytes_held
from modelward_native.shadow.mirror cimport Mirrors, lend_tensors, link_mirror, unlink_mirror
from modelward_native.request.model cimport Model, Tensor
from modelward_native.stages.resolve cimport ask
from modelward_native.request.route cimport Directory, Entry, order

cdef enum:
    IN_FLIGHT = 16                # copies

cdef int64_t TIMEOUT = 2000000000     # ns that the other version has for an answer
cdef int64_t SPACING = 100000000       # ns between two while that version has no permit free


cdef bint alike(const Tensor *a, const Tensor *b, uint32_t count) noexcept:
    cdef uint32_t i
    for i in range(count):
        if (order(a[i].name, b[i].name) != 0 or a[i].dtype != b[i].dtype or a[i].rank != b[i].rank
                or a[i].optional != b[i].optional or memcmp(a[i].shape, b[i].shape, a[i].rank * sizeof(int64_t)) != 0):
            return False
    return True


cdef bint same_signature(const Model *a, const Model *b) noexcept:
    return (a.input_count == b.input_count and a.output_count == b.output_count and a.has_batch_axis == b.has_batch_axis
            and (a.pool == NULL) == (b.pool == NULL) and alike(a.inputs, b.inputs, a.input_count)
            and alike(a.outputs, b.outputs, a.output_count))


cdef Model *other_version(Directory directory, const Exchange *x) noexcept:
    cdef const Model *asked = x.asked
    cdef const Entry *entry = directory.find(asked.name)
    cdef Model *other = NULL
    cdef uint32_t i, most = 0
    # a sequence is asked once, and what cannot be read here may be for one version alone
    if entry == NULL or x.sequence or x.opaque:
        return NULL
    for i in range(entry.count):
        if entry.weight[i] > most and order(entry.versions[i].version, asked.version) != 0:
            most = entry.weight[i]
            other = entry.versions[i]
    return other if other != NULL and same_signature(asked, other) else NULL


cdef Exchange *crosscheck(
        Checks *checks, Mirrors *mirrors, Exchange *x, Model *other, uint64_t *count, int64_t now) noexcept:
    cdef uint32_t part = part_of(x.payers.identity), own = checks.inflight_of[part]
    cdef Exchange *y
    if checks.inflight + (own + 1 if own else 1) > <uint32_t>IN_FLIGHT:
        return NULL
    # the second half of the budget of all is the clients' alone
    if 2 * (bytes_held(x.wire.slots) + x.body.size) > x.wire.inflight_limit:
        return NULL
    if other.gate.on and (other.gate.waiting.count or not mw_concurrency_free(&other.gate.concurrency)):
        if now - checks.asked < SPACING:
            return NULL
        checks.asked = now
    y = exchange_new(x.wire)
    if y == NULL:
        return NULL
    x.references += 1
    y.mirrors = x
    ask(y, other)
    y.model = other
    y.body = x.body
    y.id = x.id
    y.rows = x.rows
    y.empty = x.empty
    y.alone = True                # in a run with others it would make these fail
    y.payers.identity = x.payers.identity    # the caller whose input it is; a copy pays nothing
    y.flagged = x.flagged
    y.entered = now
    y.launched = now
    y.due = now + TIMEOUT
    y.count = count
    if other.pool == NULL and not lend_tensors(y, x, NULL, NULL):
        exchange_unref(y)
        return NULL
    checks.inflight += 1
    checks.inflight_of[part] += 1
    link_mirror(mirrors, y)
    return y


cdef void end_crosscheck(Checks *checks, Mirrors *mirrors, Exchange *y, bint answered) noexcept:
    checks.inflight -= 1
    checks.inflight_of[part_of(y.payers.identity)] -= 1
    unlink_mirror(mirrors, y)
    if answered:
        y.count[0] += 1
