"""Natural batching over ONNX Runtime: one run per model and tick, where it may run, and what becomes of it."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memcpy, memset

import os

from modelward_native.request.exchange cimport PHASE_QUEUED, PHASE_RUNNING, Exchange, exchange_unref, settle
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.h2 cimport flush_all
from modelward_native.telemetry.histogram cimport mw_histogram_record_ns
from modelward_native.limits.limit cimport mw_cost_learn
from modelward_native.request.model cimport CROWDED, STAGE_COMPUTE, STAGE_QUEUE, STAGE_REPLY, Counters, Model, Rung
from modelward_native.request.reply cimport reply_from_run
from modelward_native.backend.engine cimport (
    Engine, Slot, bucket, mw_placement_learn, mw_placement_predict, mw_placement_strike, MW_INLINE_NS
)
from modelward_native.backend.note cimport MW_NOTE_CALLERS, mw_note
from modelward_native.backend.run cimport (
    mw_run, mw_run_execute, mw_run_input, mw_run_release, mw_run_reserve, mw_run_terminate)
from modelward_native.backend.worker_thread cimport (
    mw_worker_thread_free, mw_worker_thread_new, mw_worker_thread_start, mw_worker_thread_take_done)
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.request.tensor cimport MW_BYTES, mw_span, mw_view
from modelward_native.request.outcome cimport on_answered, on_expired, on_failed
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport REASON_BACKEND_FAILED, REASON_OUT_OF_MEMORY, REASON_RUN_MEMORY

cdef enum:
    QUEUE_MAX = 16384             # exchanges of one model
    RUN_LEAST = 16 << 20          # bytes that any run may hold
    RUN_PER_BYTE = 16 << 10       # and for each byte of its inputs: attention over tokens takes as much
    WATCHDOG_NS = 10000000        # a run on the loop that takes this long is terminated and begins again in the worker thread


cdef void execute(void *run) noexcept nogil:
    mw_run_execute(<mw_run *>run)


# ---- the queue ---------------------------------------------------------------------------------------------

cdef void push_back(Engine engine, Exchange *x) noexcept:
    x.next_queued = NULL
    x.previous_queued = engine.last
    if engine.last != NULL:
        engine.last.next_queued = x
    else:
        engine.first = x
    engine.last = x
    engine.queue_length += 1
    engine.counters.pending += 1


cdef void push_front(Engine engine, Exchange *x) noexcept:
    x.previous_queued = NULL
    x.next_queued = engine.first
    if engine.first != NULL:
        engine.first.previous_queued = x
    else:
        engine.last = x
    engine.first = x
    engine.queue_length += 1
    engine.counters.pending += 1


cdef void unlink(Engine engine, Exchange *x) noexcept:
    if x.previous_queued != NULL:
        x.previous_queued.next_queued = x.next_queued
    else:
        engine.first = x.next_queued
    if x.next_queued != NULL:
        x.next_queued.previous_queued = x.previous_queued
    else:
        engine.last = x.previous_queued
    x.next_queued = NULL
    x.previous_queued = NULL
    engine.queue_length -= 1
    engine.counters.pending -= 1


cdef void withdraw(Exchange *x) noexcept:
    cdef Engine engine
    if x.phase == PHASE_QUEUED:
        unlink(<Engine>x.model.engine, x)
        x.attempt += 1
        exchange_unref(x)
    elif x.phase == PHASE_RUNNING:
        x.attempt += 1
        engine = <Engine>x.model.engine
        engine.live -= 1
        # nobody waits for this run any more: a model that loops for ever must not keep its thread
        if engine.live == 0 and engine.running:
            mw_run_terminate(&engine.run, 1)


cdef const uint32_t *order_of(const Exchange *x) noexcept:
    """Which of its tensors each input of the model that runs is; NULL where that model is the one it asked for."""
    return x.asked.rungs[x.rung - 1].inputs if x.model != x.asked else NULL


cdef const int64_t *dims_of(const Exchange *x, uint32_t i, size_t at) noexcept:
    cdef const uint32_t *order = order_of(x)
    cdef uint32_t k
    if order != NULL:
        at = 0
        for k in range(order[i]):
            at += x.asked.inputs[k].rank
    return x.dims + at


cdef mw_view *view_of(Exchange *x, uint32_t i) noexcept:
    cdef const uint32_t *order = order_of(x)
    return &x.view[i if order == NULL else order[i]]


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
    """Moves what fits from the queue into the slots; False if nothing is to be run."""
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
            on_expired(<State>scheduler.server, x, now)
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


# ---- tensors into the run --------------------------------------------------------------------------------------

cdef size_t list_elements(mw_span raw, mw_span *to) noexcept:
    """The elements of a raw BYTES tensor, which oip.pyx has found well-formed."""
    cdef size_t at = 0, n = 0
    cdef uint32_t length
    while at + 4 <= raw.size:
        memcpy(&length, raw.data + at, 4)
        to[n].data = raw.data + at + 4
        to[n].size = length
        at += 4 + length
        n += 1
    return n


cdef void name_callers(Engine engine, mw_note *note) noexcept:
    """Whose requests the run is for, should the process die of it."""
    cdef uint64_t caller
    cdef uint32_t k, n = 0
    for k in range(engine.slot_count):
        caller = engine.slots[k].exchange.payers.identity
        if n and note.caller[n - 1] == caller:
            continue
        if n == <uint32_t>MW_NOTE_CALLERS:
            n += 1                # only that there are more
            break
        note.caller[n] = caller
        n += 1
    note.callers = n
    note.any_rows = engine.batchable


cdef bint gather(Engine engine) noexcept:
    cdef uint32_t i, k
    cdef size_t size, elements, at = 0
    cdef mw_run_input *to
    cdef mw_view *view
    if engine.note != NULL:
        name_callers(engine, engine.note)
    for i in range(engine.input_count):
        size = 0
        elements = 0
        for k in range(engine.slot_count):
            view = view_of(engine.slots[k].exchange, i)
            if engine.input[i].dtype == MW_BYTES:
                elements += view.elements
            else:
                size += view.raw.size
            engine.run_bytes += view.raw.size
        if mw_run_reserve(&engine.run, i, size, elements) < 0:
            return False
        to = &engine.run.in_[i]
        memcpy(to.shape, dims_of(engine.slots[0].exchange, i, at), engine.input[i].rank * sizeof(int64_t))
        if engine.has_batch_axis:
            to.shape[0] = engine.run_rows
        size = 0
        elements = 0
        for k in range(engine.slot_count):
            view = view_of(engine.slots[k].exchange, i)
            if engine.input[i].dtype == MW_BYTES:
                elements += list_elements(view.raw, to.element + elements)
            elif view.raw.size:   # a tensor of no elements may point nowhere
                memcpy(to.data + size, view.raw.data, view.raw.size)
                size += view.raw.size
        at += engine.input[i].rank
    return True


cdef int64_t budget_of(Engine engine) noexcept:
    """Bytes that the run may hold: as its inputs' justify, or as its rows were found to need."""
    cdef double bytes = RUN_LEAST + <double>RUN_PER_BYTE * engine.run_bytes + <double>engine.row_memory * engine.run_rows
    cdef int64_t most = max(engine.memory, engine.row_memory)
    return most if bytes >= most else <int64_t>bytes


# ---- results out of the run ------------------------------------------------------------------------------------

cdef bint rows_kept(Engine engine) noexcept:
    """Every output of a shared run has the run's rows first."""
    cdef uint32_t i
    for i in range(engine.output_count):
        if engine.run.out[i].rank == 0 or engine.run.out[i].shape[0] != engine.run_rows:
            return False
    return True


cdef void queue_again(Engine engine, bint alone) noexcept:
    """Back to the head of the queue, in order. alone: each will run by itself."""
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
    """A run's time is shared by its rows."""
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


cdef void never_ran(Engine engine) noexcept:
    engine.run.failed = 1
    engine.run.over_budget = 0
    engine.run.error[0] = 0       # the words are of the run before


cdef void deliver(Scheduler scheduler, Engine engine, int64_t now) noexcept:
    cdef Counters *counters = engine.counters
    cdef Exchange *x
    cdef Model *asked
    cdef const Rung *rung
    cdef Buffer reply
    cdef int64_t first_row = 0
    cdef uint32_t k
    for k in range(engine.slot_count):
        x = engine.slots[k].exchange
        if x.phase != PHASE_RUNNING or x.attempt != engine.slots[k].attempt:
            counters.late += 1
        elif engine.run.failed:
            on_failed(
                <State>scheduler.server, x, REASON_RUN_MEMORY if engine.run.over_budget else REASON_BACKEND_FAILED,
                engine.run.error, now)
        else:
            asked = x.asked
            rung = NULL
            if x.model != x.asked:
                rung = &asked.rungs[x.rung - 1]
            memset(&reply, 0, sizeof(reply))
            if reply_from_run(x, &engine.run, first_row, engine.run_rows, rung, &reply):
                on_answered(<State>scheduler.server, x, &reply, now)
            else:
                on_failed(<State>scheduler.server, x, REASON_OUT_OF_MEMORY, NULL, now)
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
    mw_placement_learn(&engine.place, engine.run_bytes, run.took_ns, on_loop)
    counters.runs += 1
    counters.rows += engine.run_rows
    counters.compute_ns += run.took_ns
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


# ---- where a run happens ---------------------------------------------------------------------------------------

cdef class Scheduler:
    """Runs what each tick has queued. One per server."""

    def __cinit__(self):
        self.eventfd = -1
        self.pending = []
        self.busy = []
        self.threaded = []
        self.watchdog = mw_watchdog_new(WATCHDOG_NS)

    def __dealloc__(self):
        mw_watchdog_free(self.watchdog)

    def start(self, loop):
        """Joins the running event loop."""
        self.loop = loop
        self.on_tick = self.tick
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.add_reader(self.eventfd, self.on_threads_done)

    def stop(self):
        """Ends the worker threads, delivers what they were running, leaves the loop."""
        cdef Engine engine
        if self.eventfd < 0:
            return
        for engine in self.threaded:
            if engine.running:
                mw_run_terminate(&engine.run, 1)
            mw_worker_thread_free(engine.thread)
            engine.thread = NULL
            if engine.running:
                complete(self, engine, False)
        flush_all(self.wire)
        self.threaded = []
        self.busy = []
        self.loop.remove_reader(self.eventfd)
        os.close(self.eventfd)
        self.eventfd = -1

    def forget(self, Engine engine):
        """Before an idle engine is closed."""
        if engine in self.threaded:
            self.threaded.remove(engine)

    cdef int schedule(self) except -1:
        if not self.scheduled:
            self.scheduled = True
            self.wire.batch_pending = True
            self.loop.call_soon(self.on_tick)
        return 0

    cdef bint enqueue(self, Exchange *x, Model *m) noexcept:
        """Takes one reference of its own; False if the queue is full."""
        cdef Engine engine = <Engine>m.engine
        if engine.queue_length >= QUEUE_MAX:
            return False
        x.model = m
        x.references += 1
        x.attempt += 1
        x.phase = PHASE_QUEUED
        x.queued_at = self.wire.now
        push_back(engine, x)
        if not engine.pending and not engine.running:
            engine.pending = True
            self.pending.append(engine)
            self.schedule()
        return True

    def tick(self):
        """One run for every model with a queue, then one write for every connection with answers."""
        cdef list pending = self.pending
        cdef Engine engine
        cdef int64_t now = mw_now_ns()
        self.pending = []
        self.scheduled = False
        self.wire.batch_pending = False
        self.wire.now = now
        for engine in pending:
            engine.pending = False
            self.begin(engine, now)
            now = self.wire.now
        flush_all(self.wire)

    cdef int begin(self, Engine engine, int64_t now) except -1:
        cdef int64_t gathered
        if engine.running or not collect(self, engine, now):
            return 0
        if not gather(engine):
            never_ran(engine)
            deliver(self, engine, now)
            return self.again(engine)
        gathered = mw_now_ns()
        engine.counters.input_ns += gathered - now
        engine.run.budget = budget_of(engine)
        if mw_placement_predict(&engine.place, engine.run_bytes) > MW_INLINE_NS and self.to_thread(engine):
            return 0
        if engine.background:         # no thread is to be had, and the loop is no shadow's
            never_ran(engine)
            deliver(self, engine, now)
        else:
            self.on_loop(engine, gathered)
        return self.again(engine)

    cdef void on_loop(self, Engine engine, int64_t now) noexcept:
        if self.watchdog == NULL:
            mw_run_execute(&engine.run)
        else:
            mw_watchdog_enter(self.watchdog, &engine.run, now)
            mw_run_execute(&engine.run)
            if mw_watchdog_leave(self.watchdog):
                # far from what was predicted: it begins again in the worker thread, where it may take its time
                mw_placement_strike(&engine.place)
                engine.terminated += 1
                mw_run_release(&engine.run)
                queue_again(engine, False)
                return
        complete(self, engine, True)

    cdef bint to_thread(self, Engine engine) except -1:
        if engine.thread == NULL:
            engine.thread = mw_worker_thread_new(self.eventfd, engine.background)
            if engine.thread == NULL:
                return False      # no thread to be had: slow is better than not at all
            self.threaded.append(engine)
        engine.running = True
        engine.thread_runs += 1
        self.busy.append(engine)
        mw_worker_thread_start(engine.thread, execute, &engine.run)
        return True

    cdef int again(self, Engine engine) except -1:
        """What came meanwhile, or did not fit, is the next tick's: sockets and timers get their turn before."""
        if engine.first != NULL and not engine.pending:
            engine.pending = True
            self.pending.append(engine)
            self.schedule()
        return 0

    def on_threads_done(self):
        cdef Engine engine
        try:
            os.eventfd_read(self.eventfd)
        except BlockingIOError:
            return
        for engine in list(self.busy):
            if mw_worker_thread_take_done(engine.thread):
                self.busy.remove(engine)
                complete(self, engine, False)
                self.again(engine)
        if not self.scheduled:
            flush_all(self.wire)
