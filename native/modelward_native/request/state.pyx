"""What the stages of one server share."""
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

import os

from modelward_native.request.cold_calls cimport ColdCalls
from modelward_native.backend.batch cimport Scheduler
from modelward_native.timer.deadline cimport Wheel
from modelward_native.score.events cimport Events
from modelward_native.wire.listener cimport Listener
from modelward_native.wire.inflater cimport Inflater
from modelward_native.telemetry.access_log cimport end_access_log
from modelward_native.telemetry.stats cimport counters_of
from modelward_native.limits.limit cimport Limiter
from modelward_native.region.region cimport Region
from modelward_native.request.oip cimport mw_scan
from modelward_native.request.route cimport Directory


cdef class State:
    """Set up by modelward_native.request.server.Server, which is one."""

    def __cinit__(self, Wheel wheel, Limiter limiter, Directory directory, Region region=None, uint64_t identities=1 << 20):
        self.region = Region() if region is None else region
        self.gauges = self.region.own
        self.other = counters_of(self.region, b"", b"")
        self.listener = Listener(wheel, limiter, self.region)
        self.scheduler = Scheduler()
        self.inflater = Inflater()
        self.callers = self.listener.callers
        self.cold_calls = ColdCalls(self.region)
        self.directory = directory
        self.scanned = <mw_scan *>calloc(1, sizeof(mw_scan))
        if self.scanned == NULL:
            raise MemoryError
        self.events = Events()
        self.identities = identities
        self.mirrors.share = 1
        self.random = int.from_bytes(os.urandom(8)) | 1
        self.mirrors.random = int.from_bytes(os.urandom(8)) | 1

    def __dealloc__(self):
        end_access_log(&self.access_log)
        free(self.scanned)
