"""Natural batching over ONNX Runtime: one run per model and tick, where it may run, and what becomes of it."""
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memcpy, memset

import os

from native.exchange cimport PHASE_QUEUED, PHASE_RUNNING, Buffer, Exchange, exchange_unref
from native.h2 cimport flush_all
from native.histogram cimport mw_histogram_record_ns
from native.model cimport STAGE_COMPUTE, STAGE_QUEUE, STAGE_REPLY, Model, Rung
from native.reply cimport reply_from_run
from native.served cimport Served, Slot, bucket, mw_placement_learn, mw_placement_predict, mw_placement_strike, MW_INLINE_NS
from native.session cimport *
from native.tensor cimport MW_BYTES, mw_span, mw_view
from native.verdict cimport REASON_BACKEND_FAILED, REASON_OUT_OF_MEMORY

cdef enum:
    QUEUE_MAX = 16384             # exchanges of one model
    WATCHDOG_NS = 10000000        # a run on the loop that takes this long is terminated and starts anew in the lane


cdef void execute(void *run) noexcept nogil:
    mw_run_execute(<mw_run *>run)


# ---- the queue ---------------------------------------------------------------------------------------------

cdef void push_back(Model *m, Exchange *x) noexcept:
    x.next_queued = NULL
    x.previous_queued = m.last
    if m.last != NULL:
        m.last.next_queued = x
    else:
        m.first = x
    m.last = x
    m.queue_length += 1
    m.counters.pending += 1


cdef void push_front(Model *m, Exchange *x) noexcept:
    x.previous_queued = NULL
    x.next_queued = m.first
    if m.first != NULL:
        m.first.previous_queued = x
    else:
        m.last = x
    m.first = x
    m.queue_length += 1
    m.counters.pending += 1


cdef void unlink(Model *m, Exchange *x) noexcept:
    if x.previous_queued != NULL:
        x.previous_queued.next_queued = x.next_queued
    else:
        m.first = x.next_queued
    if x.next_queued != NULL:
        x.next_queued.previous_queued = x.previous_queued
    else:
        m.last = x.previous_queued
    x.next_queued = NULL
    x.previous_queued = NULL
    m.queue_length -= 1
    m.counters.pending -= 1


cdef void withdraw(Exchange *x) noexcept:
    cdef Model *m = <Model *>x.model
    cdef Served served
    if x.phase == PHASE_QUEUED:
        unlink(m, x)
        x.attempt += 1
        exchange_unref(x)
    elif x.phase == PHASE_RUNNING:
        x.attempt += 1
        served = <Served>m.served
        served.live -= 1
        # nobody waits for this run any more: a model that loops for ever must not keep its lane
        if served.live == 0 and served.running:
            mw_run_terminate(&served.run, 1)


cdef const uint32_t *order_of(const Exchange *x) noexcept:
    """Which of its tensors each input of the model that runs is; NULL where that model is the one it asked for."""
    return (<Model *>x.asked).rungs[x.rung - 1].inputs if x.model != x.asked else NULL


cdef const int64_t *dims_of(const Exchange *x, uint32_t i, size_t at) noexcept:
    """Dimensions of input i of the model that runs; at: where they are if that is the model asked for."""
    cdef const uint32_t *order = order_of(x)
    cdef uint32_t k
    if order != NULL:
        at = 0
        for k in range(order[i]):
            at += (<Model *>x.asked).inputs[k].rank
    return x.dims + at


cdef mw_view *view_of(Exchange *x, uint32_t i) noexcept:
    cdef const uint32_t *order = order_of(x)
    return &x.view[i if order == NULL else order[i]]


cdef bint same_tail(const Exchange *a, const Exchange *b, const Model *m) noexcept:
    """Equal dimensions but for the first of every input."""
    cdef uint32_t i
    cdef size_t at = 0
    for i in range(m.input_count):
        if memcmp(dims_of(a, i, at) + 1, dims_of(b, i, at) + 1, (m.inputs[i].rank - 1) * sizeof(int64_t)) != 0:
            return False
        at += m.inputs[i].rank
    return True


cdef bint joins(const Exchange *x, Served served) noexcept:
    cdef Exchange *first = served.slots[0].exchange
    return (served.model.batchable and not x.alone and not first.alone and
            served.run_rows + x.rows <= served.model.max_rows and same_tail(first, x, &served.model))


cdef bint collect(Scheduler scheduler, Served served, int64_t now) noexcept:
    """Moves what fits from the queue into the slots; False if nothing is to be run."""
    cdef Model *m = &served.model
    cdef Exchange *x
    cdef Slot *slots
    cdef uint32_t capacity
    served.slot_count = 0
    served.run_rows = 0
    served.run_bytes = 0
    while m.first != NULL:
        x = m.first
        if x.due and x.due <= now:
            scheduler.outcome.expired(scheduler.server, x, now)
            continue
        if served.slot_count and not joins(x, served):
            break
        if served.slot_count == served.slot_capacity:
            capacity = max(2 * served.slot_capacity, <uint32_t>16)
            slots = <Slot *>realloc(served.slots, capacity * sizeof(Slot))
            if slots == NULL:
                break
            served.slots = slots
            served.slot_capacity = capacity
        unlink(m, x)
        x.phase = PHASE_RUNNING
        served.slots[served.slot_count].exchange = x
        served.slots[served.slot_count].attempt = x.attempt
        served.slot_count += 1
        served.run_rows += x.rows
        m.counters.queued += 1
        m.counters.queue_ns += now - x.queued_at
        mw_histogram_record_ns(&m.counters.stage[<int>STAGE_QUEUE], now - x.queued_at)
    served.live = served.slot_count
    return served.slot_count > 0


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


cdef bint gather(Served served) noexcept:
    cdef Model *m = &served.model
    cdef uint32_t i, k
    cdef size_t size, elements, at = 0
    cdef mw_run_input *to
    cdef mw_view *view
    for i in range(m.input_count):
        size = 0
        elements = 0
        for k in range(served.slot_count):
            view = view_of(served.slots[k].exchange, i)
            if m.inputs[i].dtype == MW_BYTES:
                elements += view.elements
            else:
                size += view.raw.size
            served.run_bytes += view.raw.size
        if mw_run_reserve(&served.run, i, size, elements) < 0:
            return False
        to = &served.run.in_[i]
        memcpy(to.shape, dims_of(served.slots[0].exchange, i, at), m.inputs[i].rank * sizeof(int64_t))
        if m.has_batch_axis:
            to.shape[0] = served.run_rows
        size = 0
        elements = 0
        for k in range(served.slot_count):
            view = view_of(served.slots[k].exchange, i)
            if m.inputs[i].dtype == MW_BYTES:
                elements += list_elements(view.raw, to.element + elements)
            elif view.raw.size:   # a tensor of no elements may point nowhere
                memcpy(to.data + size, view.raw.data, view.raw.size)
                size += view.raw.size
        at += m.inputs[i].rank
    return True


# ---- results out of the run ------------------------------------------------------------------------------------

cdef bint rows_kept(Served served) noexcept:
    """Every output of a shared run has the run's rows first."""
    cdef uint32_t i
    for i in range(served.model.output_count):
        if served.run.out[i].rank == 0 or served.run.out[i].shape[0] != served.run_rows:
            return False
    return True


cdef void queue_again(Served served, bint alone) noexcept:
    """Back to the head of the queue, in order. alone: each will run by itself."""
    cdef uint32_t k = served.slot_count
    cdef Exchange *x
    while k:
        k -= 1
        x = served.slots[k].exchange
        if x.phase == PHASE_RUNNING and x.attempt == served.slots[k].attempt:
            x.alone = x.alone or alone
            x.phase = PHASE_QUEUED
            push_front(&served.model, x)
        else:
            served.model.counters.late += 1
            exchange_unref(x)
    served.slot_count = 0


cdef void deliver(Scheduler scheduler, Served served, int64_t now) noexcept:
    cdef Model *m = &served.model
    cdef Exchange *x
    cdef Model *asked
    cdef const Rung *rung
    cdef Buffer reply
    cdef int64_t first_row = 0
    cdef uint32_t k
    for k in range(served.slot_count):
        x = served.slots[k].exchange
        if x.phase != PHASE_RUNNING or x.attempt != served.slots[k].attempt:
            m.counters.late += 1
        elif served.run.failed:
            scheduler.outcome.failed(scheduler.server, x, REASON_BACKEND_FAILED, now)
        else:
            asked = <Model *>x.asked
            rung = NULL
            if m != asked:
                rung = &asked.rungs[x.rung - 1]
            memset(&reply, 0, sizeof(reply))
            if reply_from_run(x, &served.run, first_row, served.run_rows, rung, &reply):
                scheduler.outcome.answered(scheduler.server, x, &reply, now)
            else:
                scheduler.outcome.failed(scheduler.server, x, REASON_OUT_OF_MEMORY, now)
        first_row += x.rows
        exchange_unref(x)
    served.slot_count = 0


cdef void complete(Scheduler scheduler, Served served, bint on_loop) noexcept:
    cdef Model *m = &served.model
    cdef mw_run *run = &served.run
    cdef int64_t now = mw_now_ns(), ended
    cdef int b = bucket(served.run_rows)
    served.running = False
    if not on_loop:
        mw_run_terminate(run, 0)
    mw_placement_learn(&served.place, served.run_bytes, run.took_ns, on_loop)
    m.counters.runs += 1
    m.counters.rows += served.run_rows
    m.counters.compute_ns += run.took_ns
    m.counters.last_ns = now
    m.counters.batches[b].runs += 1
    m.counters.batches[b].compute_ns += run.took_ns
    mw_histogram_record_ns(&m.counters.stage[<int>STAGE_COMPUTE], run.took_ns)
    if run.failed and served.live:
        served.failures += 1
        try:
            served.last_failure = run.error.decode("utf-8", "replace")
        except MemoryError:
            pass                  # the count above still tells
    scheduler.wire.now = now
    if served.slot_count > 1 and (run.failed or not rows_kept(served)):
        if not run.failed:
            m.batchable = False
        queue_again(served, True)  # one request may be to blame
    else:
        deliver(scheduler, served, now)
        ended = mw_now_ns()
        m.counters.output_ns += ended - now
        mw_histogram_record_ns(&m.counters.stage[<int>STAGE_REPLY], ended - now)
    mw_run_release(run)


# ---- where a run happens ---------------------------------------------------------------------------------------

cdef class Scheduler:
    """Runs what each tick has queued. One per server."""

    def __cinit__(self):
        self.eventfd = -1
        self.pending = []
        self.busy = []
        self.lanes = []
        self.watchdog = mw_watchdog_new(WATCHDOG_NS)

    def __dealloc__(self):
        mw_watchdog_free(self.watchdog)

    def start(self, loop):
        """Joins the running event loop."""
        self.loop = loop
        self.on_tick = self.tick
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.add_reader(self.eventfd, self.on_lanes)

    def stop(self):
        """Ends the lanes, delivers what they were running, leaves the loop."""
        cdef Served served
        if self.eventfd < 0:
            return
        for served in self.lanes:
            if served.running:
                mw_run_terminate(&served.run, 1)
            mw_lane_free(served.lane)
            served.lane = NULL
            if served.running:
                complete(self, served, False)
        flush_all(self.wire)
        self.lanes = []
        self.busy = []
        self.loop.remove_reader(self.eventfd)
        os.close(self.eventfd)
        self.eventfd = -1

    cdef int schedule(self) except -1:
        if not self.scheduled:
            self.scheduled = True
            self.wire.batch_pending = True
            self.loop.call_soon(self.on_tick)
        return 0

    cdef bint enqueue(self, Exchange *x, Model *m) noexcept:
        """Takes one reference of its own; False if the queue is full."""
        cdef Served served = <Served>m.served
        if m.queue_length >= QUEUE_MAX:
            return False
        x.model = m
        x.references += 1
        x.attempt += 1
        x.phase = PHASE_QUEUED
        x.queued_at = self.wire.now
        push_back(m, x)
        if not served.pending and not served.running:
            served.pending = True
            self.pending.append(served)
            self.schedule()
        return True

    def tick(self):
        """One run for every model with a queue, then one write for every connection with answers."""
        cdef list pending = self.pending
        cdef Served served
        cdef int64_t now = mw_now_ns()
        self.pending = []
        self.scheduled = False
        self.wire.batch_pending = False
        self.wire.now = now
        for served in pending:
            served.pending = False
            self.begin(served, now)
            now = self.wire.now
        flush_all(self.wire)

    cdef int begin(self, Served served, int64_t now) except -1:
        cdef int64_t gathered
        if served.running or not collect(self, served, now):
            return 0
        if not gather(served):
            served.run.failed = 1
            deliver(self, served, now)
            return self.again(served)
        gathered = mw_now_ns()
        served.model.counters.input_ns += gathered - now
        if mw_placement_predict(&served.place, served.run_bytes) <= MW_INLINE_NS or not self.to_lane(served):
            self.on_loop(served, gathered)
            self.again(served)
        return 0

    cdef void on_loop(self, Served served, int64_t now) noexcept:
        if self.watchdog == NULL:
            mw_run_execute(&served.run)
        else:
            mw_watchdog_enter(self.watchdog, &served.run, now)
            mw_run_execute(&served.run)
            if mw_watchdog_leave(self.watchdog):
                # far from what was predicted: it starts anew in the lane, where it may take its time
                mw_placement_strike(&served.place)
                served.terminated += 1
                mw_run_release(&served.run)
                queue_again(served, False)
                return
        complete(self, served, True)

    cdef bint to_lane(self, Served served) except -1:
        if served.lane == NULL:
            served.lane = mw_lane_new(self.eventfd)
            if served.lane == NULL:
                return False      # no thread to be had: slow is better than not at all
            self.lanes.append(served)
        served.running = True
        served.lane_runs += 1
        self.busy.append(served)
        mw_lane_start(served.lane, execute, &served.run)
        return True

    cdef int again(self, Served served) except -1:
        """What came meanwhile, or did not fit, is the next tick's: sockets and timers get their turn before."""
        if served.model.first != NULL and not served.pending:
            served.pending = True
            self.pending.append(served)
            self.schedule()
        return 0

    def on_lanes(self):
        cdef Served served
        try:
            os.eventfd_read(self.eventfd)
        except BlockingIOError:
            return
        for served in list(self.busy):
            if mw_lane_take_done(served.lane):
                self.busy.remove(served)
                complete(self, served, False)
                self.again(served)
        if not self.scheduled:
            flush_all(self.wire)
