"""The end of a tick: permits that came back are given out, and everything that has become ready leaves."""
from libc.stdint cimport int64_t

from modelward_native.stages.admit cimport on_permits
from modelward_native.wire.types cimport Transport, Wire


cdef void flush_all(Wire *wire) noexcept:
    cdef Transport *t
    while True:
        if wire.permits:
            wire.permits = False
            on_permits(wire)
        if wire.dirty == NULL:
            return
        t = wire.dirty
        wire.dirty = t.next_dirty
        t.next_dirty = NULL
        t.dirty = False
        t.flush(t)


cdef void flush_after_timers(Wire *wire, int64_t now) noexcept:
    wire.now = now
    if not wire.batch_pending:
        flush_all(wire)
