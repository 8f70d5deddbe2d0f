"""What the processes of one server have counted, added up over their slots of the region."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from modelward_native.detect.suspicion import CAUSES, STEPS

from modelward_native.detect.suspicion cimport MW_STEPS
from modelward_native.telemetry.histogram cimport (
    MW_HISTOGRAM_BOUNDS, mw_histogram, mw_histogram_bounds, mw_histogram_count, mw_histogram_fold)
from modelward_native.request.model cimport *
from modelward_native.region.region cimport Named, Region
from modelward_native.request.verdict cimport CODES, REASONS, name_of
from modelward_native.wire.types cimport Traffic

cdef enum:
    KEPT = 16                     # versions that have stats of their own although no process serves them any more

WITHHELD_NAMES = ("fallback", "top_class")    # enum Withheld
OUTCOME_NAMES = ("ok", "fallback", "refused", "failed")    # enum Outcome

cdef bytes PREFIX = b"model\0"
cdef bytes TRAFFIC = b"traffic"     # as modelward_native.wire.listener names it
cdef bytes OTHER = b"model\0\0"
cdef bytes REMOVED = b"\0(removed)"    # a version's place in a name: what removed versions of a model have counted
cdef bytes FREE = b""               # a block that is waiting for a name


cdef inline Counters *counters_at(Region region, const Named *entry, int slot) noexcept:
    return <Counters *>region.at(entry, slot)


cdef Counters *counters_of(Region region, bytes model, bytes version) except NULL:
    cdef Counters *own
    name = PREFIX + model + b"\0" + version
    region.hold()
    try:
        try:
            if region.find(name) == NULL:
                retire(region)
            own = counters_at(region, block(region, name), region.slot)
        except MemoryError:
            own = counters_at(region, block(region, OTHER), region.slot)
        own.served += 1
    finally:
        region.let_go()
    return own


# ---- versions that are served no longer

cdef Named *block(Region region, bytes name) except NULL:
    """Under the lock: that which has this name, or one that is free, or another one."""
    cdef Named *entry = region.find(name)
    if entry == NULL:
        entry = region.find(FREE)
        if entry != NULL:
            region.rename(entry, name)
        else:
            entry = region.named(name, sizeof(Counters), False)
    return entry


cdef int retire(Region region) except -1:
    """Under the lock: of the versions that no process serves all but the last KEPT give their blocks away.

    A model's sums stay, and when the model has gone as well, those of all models: no counter that is still told of goes back.
    """
    cdef Named *entry
    served, gone = set(), []
    for name in region.names():
        if not name.startswith(PREFIX) or name == OTHER:
            continue
        model = name.split(b"\0")[1]
        entry = region.find(name)
        if is_served(region, entry):
            served.add(model)
        elif not name.endswith(REMOVED):
            gone.append((entry.order, name, model))
    gone.sort()
    while len(gone) > KEPT:
        _, name, model = gone.pop(0)
        if model in served:
            fold(region, name, PREFIX + model + REMOVED)
            continue
        # with the model goes what its other versions have counted, but for what belongs to all models
        for name in region.names():
            if name.startswith(PREFIX + model + b"\0"):
                fold(region, name, PREFIX + REMOVED)
        gone = [one for one in gone if one[2] != model]
    return 0


cdef bint is_served(Region region, const Named *entry) noexcept:
    cdef int slot
    for slot in range(<int>region.header.opened):
        if counters_at(region, entry, slot).served:
            return True
    return False


cdef int fold(Region region, bytes name, bytes into) except -1:
    """One name's counters become part of another's, slot by slot, and its block is free."""
    cdef Named *from_entry = region.find(name)
    cdef Named *to_entry = block(region, into)  # no process counts there, so the one that holds the lock is its only writer
    cdef Counters *c
    cdef int slot
    for slot in range(<int>region.header.opened):
        c = counters_at(region, from_entry, slot)
        add(counters_at(region, to_entry, slot), c)
        memset(c, 0, sizeof(Counters))
    region.rename(from_entry, FREE)
    return 0


# ---- what has been counted

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
    """The stats of every version that is served or was lately, by (name, version).

    Under (name, "(removed)") stands what others of the model have counted, under ("", "(removed)") what models that are gone
    have, and under ("", "") what no served model can be charged with. Counters only ever grow, whatever becomes of the processes.
    """
    cdef Counters total
    cdef Named *entry
    cdef int slot
    found = {}
    region.hold()
    try:
        for name in region.names():
            if not name.startswith(PREFIX):
                continue
            entry = region.find(name)
            memset(&total, 0, sizeof(total))
            for slot in range(<int>region.header.opened):
                add(&total, counters_at(region, entry, slot))
            _, model, version = name.decode().split("\0")
            found[model, version] = stats_of(&total)
    finally:
        region.let_go()
    return found


def traffic(Region region not None) -> dict:
    """What clients have sent: bytes, and connections (modelward_native.wire.types.Traffic). Only ever grows."""
    cdef Traffic total
    cdef const Traffic *one
    cdef Named *entry
    cdef int slot
    memset(&total, 0, sizeof(total))
    region.hold()
    try:
        entry = region.find(TRAFFIC)
        if entry != NULL:
            for slot in range(<int>region.header.opened):
                one = <const Traffic *>region.at(entry, slot)
                total.received += one.received
                total.inflated += one.inflated
                total.useful += one.useful
                total.opened += one.opened
                total.settled += one.settled
    finally:
        region.let_go()
    return total


def withheld(Region region not None) -> dict:
    """Answers of each model that callers at no step did not get, by what they got in their place, without zeros."""
    cdef Named *entry
    cdef const Counters *c
    cdef int slot, i
    found = {}
    region.hold()
    try:
        for name in region.names():
            if not name.startswith(PREFIX):
                continue
            entry = region.find(name)
            model = name.decode().split("\0")[1]
            for slot in range(<int>region.header.opened):
                c = counters_at(region, entry, slot)
                for i in range(<int>WITHHELD):
                    if c.withheld[i]:
                        of = found.setdefault(model, {})
                        of[WITHHELD_NAMES[i]] = of.get(WITHHELD_NAMES[i], 0) + c.withheld[i]
    finally:
        region.let_go()
    return found


def failing(Region region not None) -> dict:
    """How many processes a version fails its canary in, by (name, version); those that fail in none are not there."""
    cdef Named *entry
    cdef uint64_t count
    cdef int slot
    found = {}
    region.hold()
    try:
        for name in region.names():
            if not name.startswith(PREFIX):
                continue
            entry = region.find(name)
            count = 0
            for slot in range(<int>region.header.opened):
                count += counters_at(region, entry, slot).failing
            if count:
                _, model, version = name.decode().split("\0")
                found[model, version] = count
    finally:
        region.let_go()
    return found


def vacate(Region region not None, int slot) -> None:
    """The process of this slot has gone: nothing waits in its queues any more."""
    cdef Named *entry
    cdef Counters *c
    region.vacate(slot)
    region.hold()
    try:
        for name in region.names():
            if name.startswith(PREFIX):
                entry = region.find(name)
                c = counters_at(region, entry, slot)
                c.pending = c.waiting = c.concurrency = c.served = c.failing = 0
    finally:
        region.let_go()


cdef dict stats_of(const Counters *c):
    """All counters as plain numbers; durations in ns, histograms as (bounds in ns, cumulative counts, sum in ns), or None."""
    return {
        "codes": counted(c.codes, <int>CODES),
        "refusals": {name_of(i).decode(): n for i, n in counted(c.refusals, <int>REASONS).items()},
        "fallbacks": {name_of(i).decode(): n for i, n in counted(c.fallbacks, <int>REASONS).items()},
        "restricted": {STEPS[i]: n for i, n in counted(c.restricted, <int>MW_STEPS).items()},
        "observed": {STEPS[i]: n for i, n in counted(c.observed, <int>MW_STEPS).items()},
        "steps": steps_of(c),
        "withheld": {WITHHELD_NAMES[i]: n for i, n in counted(c.withheld, <int>WITHHELD).items()},
        "anomalies": c.anomalies, "unscored": c.unscored, "partly_scored": c.partly_scored, "late": c.late,
        "unwatched": c.unwatched,
        "success": c.success, "success_ns": c.success_ns, "fail": c.fail, "fail_ns": c.fail_ns,
        "queued": c.queued, "queue_ns": c.queue_ns, "input_ns": c.input_ns,
        "compute_ns": c.compute_ns, "loop_ns": c.loop_ns, "output_ns": c.output_ns, "rows": c.rows, "runs": c.runs,
        "last_ns": c.last_ns,
        "predicted_ns": c.predicted_ns, "taken_ns": c.taken_ns,
        "canary_runs": c.canary_runs, "canary_failures": c.canary_failures, "failing": c.failing,
        "pending": c.pending, "waiting": c.waiting, "concurrency": c.concurrency,
        "request": {name: folded(&c.request[i]) for i, name in enumerate(OUTCOME_NAMES)},
        "score": folded(&c.score) if c.profiled else None,
        "stages": {"access": folded(&c.stage[<int>STAGE_ACCESS]),
                   "limit": folded(&c.stage[<int>STAGE_LIMIT]), "decode": folded(&c.stage[<int>STAGE_DECODE]),
                   "score": folded(&c.stage[<int>STAGE_SCORE]), "queue": folded(&c.stage[<int>STAGE_QUEUE]),
                   "compute": folded(&c.stage[<int>STAGE_COMPUTE]), "reply": folded(&c.stage[<int>STAGE_REPLY])},
        "batches": size_classes(c.batches),
    }


cdef dict steps_of(const Counters *c):
    """How often identities came to a step, by (step, cause), without zeros."""
    cdef int i, j
    found = {}
    for i in range(<int>MW_STEPS):
        for j in range(<int>MW_STEP_CAUSES):
            if c.steps[i][j]:
                found[STEPS[i], CAUSES[j]] = c.steps[i][j]
    return found


cdef dict counted(const uint64_t *counts, int size):
    """Index to count, without zeros."""
    cdef int i
    return {i: counts[i] for i in range(size) if counts[i]}


cdef list size_classes(const Batches *batches):
    """(largest number of rows, runs, ns) of each size class that had runs."""
    cdef int i
    return [(1 << i, batches[i].runs, batches[i].compute_ns) for i in range(BATCH_BUCKETS) if batches[i].runs]


cdef tuple folded(const mw_histogram *h):
    """None while nothing has been recorded: of most histograms of most models."""
    cdef uint64_t count = mw_histogram_count(h)
    cdef uint64_t cumulative[<int>MW_HISTOGRAM_BOUNDS]
    if count == 0:
        return None
    mw_histogram_fold(h, mw_histogram_bounds, MW_HISTOGRAM_BOUNDS, cumulative)
    return (tuple(mw_histogram_bounds[i] for i in range(MW_HISTOGRAM_BOUNDS)),
            (*(cumulative[i] for i in range(MW_HISTOGRAM_BOUNDS)), count), h.sum)
