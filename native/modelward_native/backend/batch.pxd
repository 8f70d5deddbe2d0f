# Natural batching: what one tick brings for a model is one run, on the loop or in a worker thread.
from libc.stdint cimport int64_t, uint32_t

from modelward_native.backend.engine cimport Engine
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Wire
from modelward_native.request.model cimport Model
from modelward_native.backend.run cimport mw_run

cdef extern from "watchdog.h" nogil:
    ctypedef struct mw_watchdog:
        pass
    mw_watchdog *mw_watchdog_new(int64_t limit_ns)
    void mw_watchdog_free(mw_watchdog *)
    void mw_watchdog_enter(mw_watchdog *, mw_run *, int64_t now_ns)
    int mw_watchdog_leave(mw_watchdog *)

cdef class Scheduler:
    cdef Wire *wire               # borrowed from the Listener, which outlives this
    cdef object loop
    cdef object on_tick           # bound once
    cdef list pending             # Engine with a queue for this tick
    cdef list busy                # Engine whose worker thread is running
    cdef list threaded            # Engine that have a worker thread
    cdef bint scheduled
    cdef int eventfd
    cdef mw_watchdog *watchdog    # owned; NULL where no thread was to be had
    cdef int schedule(self) except -1
    cdef bint enqueue(self, Exchange *x, Model *m) noexcept
    cdef int begin(self, Engine engine, int64_t now) except -1
    cdef void on_loop(self, Engine engine, int64_t now) noexcept
    cdef bint to_thread(self, Engine engine) except -1
    cdef int again(self, Engine engine) except -1
