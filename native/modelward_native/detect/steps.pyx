"""Steps that identities took: with names and evidence, in a ring of each worker's slot, until the supervisor reads them."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from modelward_native.detect.suspicion import CAUSES, SIGNALS, STEPS

from modelward_native.detect.suspicion cimport MW_NAT, MW_SIGNALS, mw_step, mw_suspect
from modelward_native.limits.callers cimport mw_caller, name_caller
from modelward_native.limits.callers import KINDS
from modelward_native.region.region cimport Named, Region
from modelward_native.request.exchange cimport Exchange

cdef bytes BLOCK = b"steps"


cdef mw_step_ring *step_ring(Region region) except NULL:
    return <mw_step_ring *>region.block(BLOCK, sizeof(mw_step_ring))


cdef void note_step(mw_step_ring *ring, const Exchange *x, const mw_suspect *s, mw_step before, mw_step after, int cause,
                    int64_t now) noexcept:
    cdef mw_step_event *e
    cdef mw_caller caller
    cdef int i
    x.asked.counters.steps[<int>after][cause] += 1
    if ring == NULL:
        return
    e = mw_steps_next(ring)
    e.key = s.key
    e.at = now
    for i in range(<int>MW_SIGNALS):
        e.evidence[i] = max(s.evidence[2 * i], s.evidence[2 * i + 1]) / <float>MW_NAT
    e.before = <unsigned char>before
    e.after = <unsigned char>after
    e.cause = <unsigned char>cause
    e.spent = s.spent
    e.name_size = 0
    e.traced = False
    if x.stream != NULL:
        memset(&caller, 0, sizeof(caller))
        name_caller(&caller, x.stream, False)
        e.kind = caller.kind
        e.name_size = caller.name_size
        memcpy(e.name, caller.name, caller.name_size)
        e.traced = x.stream.traced
        memcpy(e.trace, x.stream.trace, sizeof(e.trace))
    e.model_size = <unsigned char>min(x.asked.name.size, <size_t>MW_STEP_TEXT)
    memcpy(e.model, x.asked.name.data, e.model_size)
    mw_steps_done(ring, e)


def read(Region region not None, dict read_so_far not None) -> tuple[list, int]:
    """Events that have come since, of all processes, and how many were overwritten before they were read.

    An event: (key of the record, kind and name of the caller as a header tells it, model, step before, step after, cause, nats by
    signal, rows spent today, ns of the monotonic clock, trace id in hexadecimal or ""). read_so_far: by slot the events that
    were read; changed.
    """
    cdef Named *entry = region.find(BLOCK)
    cdef const mw_step_ring *ring
    cdef mw_step_event e
    cdef uint64_t place, written
    cdef int slot
    events, lost = [], 0
    if entry == NULL:
        return events, lost
    for slot in range(<int>region.header.opened):
        ring = <const mw_step_ring *>(<char *>region.slot_at(slot) + entry.offset)
        written = ring.written
        place = read_so_far.get(slot, 0)
        if written > place + MW_STEP_EVENTS:
            lost += written - MW_STEP_EVENTS - place
            place = written - MW_STEP_EVENTS
        while place < written:
            if mw_steps_read(ring, place, &e):
                events.append(as_tuple(&e))
            else:
                lost += 1
            place += 1
        read_so_far[slot] = written
    return events, lost


cdef tuple as_tuple(const mw_step_event *e):
    return (
        e.key, KINDS[min(e.kind, <unsigned char>(len(KINDS) - 1))], e.name[:e.name_size].decode("ascii", "replace"),
        e.model[:e.model_size].decode("utf-8", "replace"), STEPS[e.before], STEPS[e.after], CAUSES[e.cause],
        {name: e.evidence[i] for i, name in enumerate(SIGNALS)}, e.spent, e.at,
        (<const char *>e.trace)[:16].hex() if e.traced else "")
