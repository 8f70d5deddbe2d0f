"""The requests that wait for the next run of an engine, and which of them share it."""
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp

from modelward_native.backend.engine cimport Slot, engine_of
from modelward_native.backend.inputs cimport dims_of
from modelward_native.backend.run cimport mw_run_terminate
from modelward_native.request.exchange cimport PHASE_QUEUED, PHASE_RUNNING, exchange_unref
from modelward_native.request.model cimport STAGE_QUEUE, Counters
from modelward_native.request.pipeline cimport failed
from modelward_native.request.state cimport server_of
from modelward_native.request.verdict cimport REASON_DEADLINE
from modelward_native.telemetry.histogram cimport mw_histogram_record_ns


cdef void withdraw(Exchange *x) noexcept:
    cdef Engine engine
    if x.phase == PHASE_QUEUED:
        unlink(engine_of(x.model), x)
        x.attempt += 1
        exchange_unref(x)
    elif x.phase == PHASE_RUNNING:
        x.attempt += 1
        engine = engine_of(x.model)
        engine.live -= 1
        # no request waits for this run any more: a model that loops for ever must not keep its thread
        if engine.live == 0 and engine.running:
            mw_run_terminate(&engine.run, 1)


cdef bint same_tail(const Exchange *a, const Exchange *b, Engine engine) noexcept:
    """Equal dimensions but for the first of every input."""
    cdef uint32_t i
    cdef size_t at = 0
    for i in range(engine.input_count):
        if memcmp(dims_of(a, i, at) + 1, dims_of(b, i, at) + 1, (engine.input[i].rank - 1) * sizeof(int64_t)) != 0:
            return False
        at += engine.input[i].rank
    return True


cdef bint joins(const Exchange *x, Engine engine) noexcept:
    cdef Exchange *first = engine.slots[0].exchange
    return (engine.batchable and not engine.runs_alone and not x.alone and not first.alone and
            engine.run_rows + x.rows <= engine.max_rows and same_tail(first, x, engine))


cdef bint collect(Scheduler scheduler, Engine engine, int64_t now) noexcept:
    cdef Counters *counters = engine.counters
    cdef Exchange *x
    cdef Slot *slots
    cdef uint32_t capacity
    engine.slot_count = 0
    engine.run_rows = 0
    engine.run_bytes = 0
    while engine.first != NULL:
        x = engine.first
        if x.due and x.due <= now:
            failed(server_of(scheduler.wire), x, REASON_DEADLINE, NULL, now)
            continue
        if engine.slot_count and not joins(x, engine):
            break
        if engine.slot_count == engine.slot_capacity:
            capacity = max(2 * engine.slot_capacity, <uint32_t>16)
            slots = <Slot *>realloc(engine.slots, capacity * sizeof(Slot))
            if slots == NULL:
                break
            engine.slots = slots
            engine.slot_capacity = capacity
        unlink(engine, x)
        x.phase = PHASE_RUNNING
        engine.slots[engine.slot_count].exchange = x
        engine.slots[engine.slot_count].attempt = x.attempt
        engine.slot_count += 1
        engine.run_rows += x.rows
        counters.queued += 1
        counters.queue_ns += now - x.queued_at
        mw_histogram_record_ns(&counters.stage[<int>STAGE_QUEUE], now - x.queued_at)
    engine.live = engine.slot_count
    return engine.slot_count > 0
