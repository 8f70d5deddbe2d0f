"""The one timer wheel behind one timer of the event loop: where the wheel meets the clock and the loop."""
from libc.stdint cimport INT64_MIN, int64_t

from modelward_native.timer.clock cimport mw_now_ns

cdef int64_t LONGEST_WAIT_NS = 86400000000000  # a day; the loop's timer then finds nothing due and is armed again


cdef class Wheel:
    """Timers of one event loop.

    The loop holds at most one timer for all of them. Adding a deadline touches it only if nothing armed goes off earlier;
    cancelling never does, so a busy server, whose deadlines are nearly all cancelled, arms about once per deadline span.
    """

    def __cinit__(self, loop, clock=None):
        self.loop = loop
        self.clock = clock
        self.handle = None
        self.armed_ns = MW_NO_TIMER
        mw_wheel_init(&self.wheel, self.now_ns())
        self.on_timer = self._on_timer

    cdef int64_t now_ns(self) except -1:
        return mw_now_ns() if self.clock is None else self.clock()

    cdef int arm(self, int64_t due_ns) except -1:
        cdef int64_t now_ns, left_ns = 0
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
        self.armed_ns = MW_NO_TIMER
        if due_ns == MW_NO_TIMER:
            return 0
        now_ns = self.now_ns()
        if due_ns > now_ns:
            left_ns = min(due_ns - now_ns, LONGEST_WAIT_NS)
        # libuv counts whole milliseconds, from a clock of its own that it rounds down: rounding up here makes it go off
        # within a millisecond of the due time; where that is before it, fire_due finds nothing and arms the rest.
        self.handle = self.loop.call_later(((left_ns + 999999) // 1000000) / 1000.0, self.on_timer)
        self.armed_ns = due_ns
        return 0

    cdef int fire_due(self, int64_t now_ns) except -1:
        cdef mw_timer *timer
        self.armed_ns = INT64_MIN  # nothing that is added meanwhile arms: that is done once, below
        mw_wheel_advance(&self.wheel, now_ns)
        timer = mw_wheel_pop(&self.wheel)
        while timer != NULL:
            timer.fire(timer, now_ns)
            timer = mw_wheel_pop(&self.wheel)
        if self.after != NULL:
            self.after(self.wire, now_ns)
        self.arm(mw_wheel_next_ns(&self.wheel))
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return 0

    def _on_timer(self):
        self.handle = None
        self.fire_due(self.now_ns())

    @property
    def armed(self):
        """When the loop's timer goes off, in ns of the wheel's clock; None if nothing is armed."""
        return None if self.armed_ns == MW_NO_TIMER else self.armed_ns

    def next_ns(self):
        """A time at or before the next timer's, in ns; None if the wheel is empty."""
        cdef int64_t next_ns = mw_wheel_next_ns(&self.wheel)
        return None if next_ns == MW_NO_TIMER else next_ns

    def close(self):
        """Takes the timer off the loop and lets go of it. Timers still in the wheel never fire; their owners cancel them."""
        self.arm(MW_NO_TIMER)
        self.on_timer = None
