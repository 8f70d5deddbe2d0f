"""What the rooms of one server share."""
from native.batch cimport Scheduler
from native.deadline cimport Wheel
from native.events cimport Events
from native.h2 cimport Listener
from native.limit cimport Limiter
from native.route cimport Directory


cdef class State:
    """Set up by native.pipeline.Server, which is one."""

    def __cinit__(self, Wheel wheel, Limiter limiter, list models):
        self.listener = Listener(wheel, limiter)
        self.scheduler = Scheduler()
        self.directory = Directory(models)
        self.events = Events()
        self.limited = limiter.peer.interval_ns or limiter.identity.interval_ns or limiter.total.rate.interval_ns
