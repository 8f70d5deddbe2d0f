# Bytes to and from a socket, for every kind of connection: read by asyncio, written once per tick. Nothing here raises but what
# Python calls.
from libc.stdint cimport int64_t, uint8_t

from modelward_native.timer.deadline cimport Wheel, timer_add, timer_cancel
from modelward_native.wire.types cimport Transport, Wire

cdef enum:
    READ_SIZE = 262144
    WRITE_SIZE = 262144           # bytes that a connection writes at once

cdef class Protocol:
    cdef Transport *transport     # of the connection that this is
    cdef object asyncio           # asyncio's transport; None where transport.asyncio is NULL
    cdef void begin(self, Transport *t, Wire *wire) noexcept    # before anything else; timer and flush are the connection's own
    cdef int open(self, object asyncio) except -1               # with what `connection_made` gets
    cdef int lose(self) except -1                               # asyncio has closed it
    cdef bint resume(self) noexcept                             # asyncio takes more; False: it is to be written no more

cdef void write_out(Transport *t, const uint8_t *data, size_t size) noexcept
cdef void close_soon(Transport *t) noexcept   # asyncio writes what it holds and closes; in time, if the peer does not take it
cdef void abort(Transport *t) noexcept        # closes at once


cdef inline bint is_open(const Transport *t) noexcept:
    return t.asyncio != NULL


cdef inline Wheel wheel_of(const Wire *wire):
    return <Wheel>wire.wheel


cdef inline void mark(Transport *t) noexcept:
    """It has something to write when the tick ends."""
    if not t.dirty:
        t.dirty = True
        t.next_dirty = t.wire.dirty
        t.wire.dirty = t


cdef inline void watch(Transport *t, int64_t due) noexcept:
    """Its timer is due then, and not before."""
    cdef Wheel wheel = wheel_of(t.wire)
    timer_cancel(wheel, &t.timer)
    timer_add(wheel, &t.timer, due)
