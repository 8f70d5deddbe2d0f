"""The requests of a connection with too many unread answers: a list in the order in which they came.

The stream's reference keeps a parked exchange. When its client or its deadline ends it, it first leaves the list.
"""
from modelward_native.request.exchange cimport PHASE_NEW, PHASE_PARKED, Exchange
from modelward_native.wire.types cimport Conn


cdef void park(Exchange *x) noexcept:
    cdef Conn *c = x.stream.conn
    x.phase = PHASE_PARKED
    x.previous_queued = c.parked_last
    if c.parked_last != NULL:
        c.parked_last.next_queued = x
    else:
        c.parked_first = x
    c.parked_last = x


cdef void unpark(Exchange *x) noexcept:
    cdef Conn *c = x.stream.conn
    x.phase = PHASE_NEW
    if x.previous_queued != NULL:
        x.previous_queued.next_queued = x.next_queued
    else:
        c.parked_first = x.next_queued
    if x.next_queued != NULL:
        x.next_queued.previous_queued = x.previous_queued
    else:
        c.parked_last = x.previous_queued
    x.next_queued = NULL
    x.previous_queued = NULL
