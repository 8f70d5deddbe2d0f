"""What the rooms of one server share."""
import os

from native.batch cimport Scheduler
from native.callers cimport Callers
from native.deadline cimport Wheel
from native.events cimport Events
from native.h2 cimport Listener
from native.inflater cimport Inflater
from native.figures cimport counters_of
from native.limit cimport Limiter
from native.region cimport Region
from native.route cimport Directory


cdef class State:
    """Set up by native.pipeline.Server, which is one."""

    def __cinit__(self, Wheel wheel, Limiter limiter, Directory directory, Region region=None):
        self.region = Region() if region is None else region
        self.gauges = self.region.own
        self.other = counters_of(self.region, b"", b"")
        self.listener = Listener(wheel, limiter, self.region)
        self.scheduler = Scheduler()
        self.inflater = Inflater()
        self.callers = Callers(self.region)
        self.directory = directory
        self.events = Events()
        self.mirrors.share = 1
        self.mirrors.random = int.from_bytes(os.urandom(8)) | 1
