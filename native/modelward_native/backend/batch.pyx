"""Natural batching over ONNX Runtime: one run per model and tick, on the loop or in a worker thread."""
from libc.stdint cimport int64_t

import os

from modelward_native.backend.engine cimport (
    MW_INLINE_NS, Engine, engine_of, mw_placement_predict, mw_placement_strike)
from modelward_native.backend.inputs cimport gather, memory_budget
from modelward_native.backend.queue cimport collect, push_back
from modelward_native.backend.results cimport complete, fail_run, queue_again
from modelward_native.backend.run cimport mw_run, mw_run_execute, mw_run_release, mw_run_terminate
from modelward_native.backend.worker_thread cimport (
    mw_worker_thread_free, mw_worker_thread_new, mw_worker_thread_start, mw_worker_thread_take_done)
from modelward_native.request.exchange cimport PHASE_QUEUED, Exchange
from modelward_native.request.model cimport Model
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.wire.tick cimport flush_all

cdef enum:
    QUEUE_MAX = 16384             # exchanges of one model
    WATCHDOG_NS = 10000000        # a run on the loop that takes this long is terminated and begins again in the worker thread


cdef void execute(void *run) noexcept nogil:
    mw_run_execute(<mw_run *>run)


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
        cdef Engine engine = engine_of(m)
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
            fail_run(self, engine, now)
            return self.again(engine)
        gathered = mw_now_ns()
        engine.counters.input_ns += gathered - now
        engine.run.budget = memory_budget(engine)
        if mw_placement_predict(&engine.placement, engine.run_bytes) > MW_INLINE_NS and self.to_thread(engine):
            return 0
        if engine.background:     # no thread is to be had, and the loop is no shadow's
            fail_run(self, engine, now)
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
                mw_placement_strike(&engine.placement)
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
