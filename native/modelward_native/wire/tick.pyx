"""The end of a tick: permits that came back are given out, and everything that has become ready leaves."""
from modelward_native.stages.admit cimport on_permits
from modelward_native.wire.types cimport Transport, Wire


cdef void flush_all(Wire *wire) noexcept:
    cdef Transport *t
    while True:
        if wire.permits:
            wire.permits = False
            on_permits(wire.server, wire.now)
        if wire.dirty == NULL:
            return
        t = wire.dirty
        wire.dirty = t.next_dirty
        t.next_dirty = NULL
        t.dirty = False
        t.flush(t)
