"""What becomes of a run: its requests answered, failed, or queued again."""
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

from modelward_native.backend.engine cimport mw_placement_learn
from modelward_native.backend.queue cimport push_front
from modelward_native.backend.run cimport mw_run, mw_run_release, mw_run_terminate
from modelward_native.limits.limit cimport mw_cost_learn
from modelward_native.request.exchange cimport PHASE_QUEUED, PHASE_RUNNING, Exchange, exchange_unref, settle
from modelward_native.request.model cimport (
    BATCH_BUCKETS, CROWDED, STAGE_COMPUTE, STAGE_REPLY, Counters, Model, Fallback)
from modelward_native.request.pipeline cimport answered, failed
from modelward_native.request.reply cimport reply_from_run
from modelward_native.request.state cimport State, server_of
from modelward_native.request.verdict cimport REASON_BACKEND_FAILED, REASON_OUT_OF_MEMORY, REASON_RUN_MEMORY
from modelward_native.telemetry.histogram cimport mw_histogram_record_ns
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.wire.buffer cimport Buffer


cdef int bucket(int64_t rows) noexcept nogil:
    """ceil(log2(rows)), at most BATCH_BUCKETS - 1."""
    cdef int b = 0
    while (<int64_t>1 << b) < rows and b < BATCH_BUCKETS - 1:
        b += 1
    return b


cdef bint rows_kept(Engine engine) noexcept:
    """Every output of a shared run has the run's rows first."""
    cdef uint32_t i
    for i in range(engine.output_count):
        if engine.run.out[i].rank == 0 or engine.run.out[i].shape[0] != engine.run_rows:
            return False
    return True


cdef void queue_again(Engine engine, bint alone) noexcept:
    cdef uint32_t k = engine.slot_count
    cdef Exchange *x
    while k:
        k -= 1
        x = engine.slots[k].exchange
        if x.phase == PHASE_RUNNING and x.attempt == engine.slots[k].attempt:
            x.alone = x.alone or alone
            x.phase = PHASE_QUEUED
            push_front(engine, x)
        else:
            engine.counters.late += 1
            settle(x, x.predicted)
            exchange_unref(x)
    engine.slot_count = 0


cdef void charge(Engine engine) noexcept:
    """The requests of a run share its time by their rows."""
    cdef Exchange *x
    cdef int64_t share, largest = 0
    cdef uint32_t k
    for k in range(engine.slot_count):
        largest = max(largest, engine.slots[k].exchange.rows)
    for k in range(engine.slot_count):
        x = engine.slots[k].exchange
        share = engine.run.took_ns
        if engine.slot_count > 1:
            share = share * x.rows // max(engine.run_rows, <int64_t>1)
        if not engine.run.failed:
            mw_cost_learn(&engine.costs, x.body.size, share)
        x.ran = max(share, <int64_t>1)
        x.crowded = largest > CROWDED * x.rows
        settle(x, share)


cdef void fail_run(Scheduler scheduler, Engine engine, int64_t now) noexcept:
    engine.run.failed = 1
    engine.run.over_budget = 0
    engine.run.error[0] = 0       # the words are of the run before
    deliver(scheduler, engine, now)


cdef void deliver(Scheduler scheduler, Engine engine, int64_t now) noexcept:
    cdef State server = server_of(scheduler.wire)
    cdef Counters *counters = engine.counters
    cdef Exchange *x
    cdef Model *asked
    cdef const Fallback *fallback
    cdef Buffer reply
    cdef int64_t first_row = 0
    cdef uint32_t k
    for k in range(engine.slot_count):
        x = engine.slots[k].exchange
        if x.phase != PHASE_RUNNING or x.attempt != engine.slots[k].attempt:
            counters.late += 1
        elif engine.run.failed:
            failed(
                server, x, REASON_RUN_MEMORY if engine.run.over_budget else REASON_BACKEND_FAILED,
                engine.run.error, now)
        else:
            asked = x.asked
            fallback = NULL
            if x.model != x.asked:
                fallback = &asked.fallbacks[x.tried - 1]
            memset(&reply, 0, sizeof(reply))
            if reply_from_run(x, &engine.run, first_row, engine.run_rows, fallback, &reply):
                answered(server, x, &reply, now)
            else:
                failed(server, x, REASON_OUT_OF_MEMORY, NULL, now)
        first_row += x.rows
        exchange_unref(x)
    engine.slot_count = 0


cdef void complete(Scheduler scheduler, Engine engine, bint on_loop) noexcept:
    cdef Counters *counters = engine.counters
    cdef mw_run *run = &engine.run
    cdef int64_t now = mw_now_ns(), ended
    cdef int b = bucket(engine.run_rows)
    engine.running = False
    if not on_loop:
        mw_run_terminate(run, 0)
    mw_placement_learn(&engine.placement, engine.run_bytes, run.took_ns, on_loop)
    counters.runs += 1
    counters.rows += engine.run_rows
    counters.compute_ns += run.took_ns
    if on_loop:
        counters.loop_ns += run.took_ns
    counters.last_ns = now
    counters.batches[b].runs += 1
    counters.batches[b].compute_ns += run.took_ns
    mw_histogram_record_ns(&counters.stage[<int>STAGE_COMPUTE], run.took_ns)
    if run.failed and engine.live:
        engine.failures += 1
        try:
            engine.last_failure = run.error.decode("utf-8", "replace")
        except MemoryError:
            pass                  # the count above still tells
    scheduler.wire.now = now
    if engine.slot_count > 1 and (run.failed or not rows_kept(engine)):
        if not run.failed:
            engine.batchable = False
        queue_again(engine, True)  # one request may be to blame
    else:
        charge(engine)
        deliver(scheduler, engine, now)
        ended = mw_now_ns()
        counters.output_ns += ended - now
        mw_histogram_record_ns(&counters.stage[<int>STAGE_REPLY], ended - now)
    mw_run_release(run)
