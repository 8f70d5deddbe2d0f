"""Deadlines: one timer wheel behind one timer of the event loop."""
from libc.stdint cimport int64_t


cdef extern from "wheel.h":
    ctypedef struct mw_timer:
        # Embedded in the struct whose deadline it is; the owner sets fire with mw_timer_init and cancels before freeing.
        int64_t due_tick
        void (*fire)(mw_timer *timer, int64_t now_ns) noexcept  # called with the GIL held

    void mw_timer_init(mw_timer *timer, void (*fire)(mw_timer *, int64_t) noexcept)


cdef extern from "wheel.h" nogil:
    ctypedef struct mw_wheel:
        int64_t tick

    const int64_t MW_TICK_NS
    const int64_t MW_NO_TIMER

    void mw_wheel_init(mw_wheel *wheel, int64_t now_ns)
    void mw_wheel_advance(mw_wheel *wheel, int64_t now_ns)
    bint mw_timer_pending(const mw_timer *timer)
    int64_t mw_timer_due_ns(const mw_timer *timer)
    void mw_wheel_add(mw_wheel *wheel, mw_timer *timer, int64_t due_ns)
    void mw_wheel_cancel(mw_wheel *wheel, mw_timer *timer)
    mw_timer *mw_wheel_pop(mw_wheel *wheel)
    int64_t mw_wheel_next_ns(const mw_wheel *wheel)


from modelward_native.wire.types cimport Wire


cdef class Wheel:
    cdef mw_wheel wheel
    cdef object loop
    cdef object clock          # None: CLOCK_MONOTONIC; tests pass a callable that returns nanoseconds
    cdef object on_timer       # bound once, so that arming allocates one handle and nothing else
    cdef object handle         # the loop's timer, None when nothing is armed
    cdef int64_t armed_ns      # when the loop's timer goes off; MW_NO_TIMER if none is armed, INT64_MIN while firing
    cdef object failure        # what a Python callback raised while firing; raised once the wheel is consistent again
    # After a round of firing: wire.tick.flush_after_timers, or NULL. A pointer, since an import of wire.tick would come back here
    # by way of wire.transport.
    cdef void (*after)(Wire *wire, int64_t now_ns) noexcept
    cdef Wire *wire            # borrowed: of the connections that timers write to

    cdef int64_t now_ns(self) except -1
    cdef int arm(self, int64_t due_ns) except -1
    cdef int fire_due(self, int64_t now_ns) except -1


# The timer must not be pending. Touches the loop only if nothing armed goes off earlier; raises only what it raises.
cdef inline int timer_add(Wheel self, mw_timer *timer, int64_t due_ns) except -1:
    mw_wheel_add(&self.wheel, timer, due_ns)
    if mw_timer_due_ns(timer) < self.armed_ns:
        return self.arm(mw_timer_due_ns(timer))
    return 0


# Safe on a timer that is not pending. The loop's timer stays armed: at worst it finds nothing due.
cdef inline void timer_cancel(Wheel self, mw_timer *timer) noexcept:
    mw_wheel_cancel(&self.wheel, timer)
