"""What the processes of one server have counted, added up over their slots of the region."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from native.histogram cimport MW_HISTOGRAM_BOUNDS, mw_histogram, mw_histogram_bounds, mw_histogram_count, mw_histogram_fold
from native.model cimport *
from native.region cimport Named, Region
from native.verdict cimport CODES, REASONS, name_of

cdef bytes PREFIX = b"model\0"


cdef Counters *counters_of(Region region, bytes model, bytes version) except NULL:
    try:
        return <Counters *>region.block(PREFIX + model + b"\0" + version, sizeof(Counters))
    except MemoryError:
        return <Counters *>region.block(PREFIX + b"\0", sizeof(Counters))


cdef void add(Counters *total, const Counters *c) noexcept:
    cdef uint64_t *to = <uint64_t *>total
    cdef const uint64_t *what = <const uint64_t *>c
    cdef int64_t last = max(total.last_ns, c.last_ns)
    cdef size_t i
    for i in range(sizeof(Counters) // sizeof(uint64_t)):
        to[i] += what[i]
    total.last_ns = last


cdef Counters summed(Region region, const Counters *own):
    cdef Counters total
    cdef int slot
    memset(&total, 0, sizeof(total))
    for slot in range(<int>region.header.opened):
        add(&total, <const Counters *>region.same_in(own, slot))
    return total


def models(Region region not None) -> dict:
    """The figures of every version of every model that has ever been served, by (name, version).

    Under ("", "") stands what no served model can be charged with. Counters only ever grow, whatever becomes of the
    processes.
    """
    cdef Counters total
    cdef Named *entry
    cdef int slot
    found = {}
    for name in region.names():
        if not name.startswith(PREFIX):
            continue
        entry = region.find(name)
        memset(&total, 0, sizeof(total))
        for slot in range(<int>region.header.opened):
            add(&total, <const Counters *>(<const char *>region.slot_at(slot) + entry.offset))
        _, model, version = name.decode().split("\0")
        found[model, version] = figures_of(&total)
    return found


def vacate(Region region not None, int slot) -> None:
    """The process of this slot has gone: nothing waits in its queues any more."""
    cdef Named *entry
    cdef Counters *c
    region.vacate(slot)
    for name in region.names():
        if name.startswith(PREFIX):
            entry = region.find(name)
            c = <Counters *>(<char *>region.slot_at(slot) + entry.offset)
            c.pending = c.waiting = c.concurrency = 0


cdef dict figures_of(const Counters *c):
    """All counters as plain numbers; durations in ns, histograms as (bounds in ns, cumulative counts, sum in ns)."""
    return {
        "codes": counted(c.codes, <int>CODES),
        "refusals": {name_of(i).decode(): n for i, n in counted(c.refusals, <int>REASONS).items()},
        "fallbacks": {name_of(i).decode(): n for i, n in counted(c.fallbacks, <int>REASONS).items()},
        "anomalies": c.anomalies, "late": c.late, "success": c.success, "success_ns": c.success_ns,
        "fail": c.fail, "fail_ns": c.fail_ns, "queued": c.queued, "queue_ns": c.queue_ns, "input_ns": c.input_ns,
        "compute_ns": c.compute_ns, "output_ns": c.output_ns, "rows": c.rows, "runs": c.runs, "last_ns": c.last_ns,
        "pending": c.pending, "waiting": c.waiting, "concurrency": c.concurrency,
        "request": folded(&c.request),
        "score": folded(&c.score) if c.profiled else None,
        "stages": {"access": folded(&c.stage[<int>STAGE_ACCESS]),
                   "limit": folded(&c.stage[<int>STAGE_LIMIT]), "decode": folded(&c.stage[<int>STAGE_DECODE]),
                   "score": folded(&c.stage[<int>STAGE_SCORE]), "queue": folded(&c.stage[<int>STAGE_QUEUE]),
                   "compute": folded(&c.stage[<int>STAGE_COMPUTE]), "reply": folded(&c.stage[<int>STAGE_REPLY])},
        "batches": size_classes(c.batches),
    }


cdef dict counted(const uint64_t *counts, int size):
    """Index to count, without zeros."""
    cdef int i
    return {i: counts[i] for i in range(size) if counts[i]}


cdef list size_classes(const Batches *batches):
    """(largest number of rows, runs, ns) of each size class that had runs."""
    cdef int i
    return [(1 << i, batches[i].runs, batches[i].compute_ns) for i in range(BATCH_BUCKETS) if batches[i].runs]


cdef tuple folded(const mw_histogram *h):
    cdef uint64_t cumulative[<int>MW_HISTOGRAM_BOUNDS]
    mw_histogram_fold(h, mw_histogram_bounds, MW_HISTOGRAM_BOUNDS, cumulative)
    return (tuple(mw_histogram_bounds[i] for i in range(MW_HISTOGRAM_BOUNDS)),
            (*(cumulative[i] for i in range(MW_HISTOGRAM_BOUNDS)), mw_histogram_count(h)), h.sum)
