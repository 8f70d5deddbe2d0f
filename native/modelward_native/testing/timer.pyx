"""A timer of the wheel whose firing calls Python: for tests."""
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int64_t

from modelward_native.timer.deadline cimport (
    Wheel, mw_timer, mw_timer_init, mw_timer_pending, timer_add, timer_cancel)


cdef struct python_timer:
    mw_timer timer              # first: a mw_timer of this kind is its python_timer
    PyObject *owner             # the Timer around it; borrowed, it cannot go while the timer is pending


cdef class Timer:
    """A timer whose firing calls Python. Requests embed theirs.

    callback(now_ns) may add or cancel any timer. What it raises is raised by the wheel after the round of firing; of
    several failures the first. A pending timer keeps itself alive.
    """

    cdef python_timer held
    cdef Wheel wheel
    cdef object callback

    def __cinit__(self, Wheel wheel not None, callback):
        self.wheel = wheel
        self.callback = callback
        self.held.owner = <PyObject *>self
        mw_timer_init(&self.held.timer, fire_python)

    def add(self, int64_t due_ns):
        """Fires at due_ns (wheel's clock), at most one tick of 2**20 ns late. Raises ValueError if already pending."""
        if mw_timer_pending(&self.held.timer):
            raise ValueError("this timer is already pending: cancel it first")
        Py_INCREF(self)
        timer_add(self.wheel, &self.held.timer, due_ns)

    def cancel(self):
        """Takes the timer out of the wheel; nothing happens if it is not in it."""
        if mw_timer_pending(&self.held.timer):
            timer_cancel(self.wheel, &self.held.timer)
            Py_DECREF(self)

    @property
    def pending(self):
        """Whether the timer is in the wheel."""
        return mw_timer_pending(&self.held.timer)


cdef void fire_python(mw_timer *timer, int64_t now_ns) noexcept:
    cdef Timer owner = <Timer>(<python_timer *>timer).owner
    Py_DECREF(owner)  # the reference of add(); owner holds one of its own
    try:
        owner.callback(now_ns)
    except BaseException as failure:
        if owner.wheel.failure is None:
            owner.wheel.failure = failure
