# The requests that wait for the next run of an engine. Each holds one reference.
from libc.stdint cimport int64_t

from modelward_native.backend.batch cimport Scheduler
from modelward_native.backend.engine cimport Engine
from modelward_native.request.exchange cimport Exchange

# Moves what fits into one run from the queue into the slots; False if nothing is to be run.
cdef bint collect(Scheduler scheduler, Engine engine, int64_t now) noexcept
# Takes an exchange out of its model's queue, or lets go of its slot in a run.
cdef void withdraw(Exchange *x) noexcept

cdef inline void push_back(Engine engine, Exchange *x) noexcept:
    x.next_queued = NULL
    x.previous_queued = engine.last
    if engine.last != NULL:
        engine.last.next_queued = x
    else:
        engine.first = x
    engine.last = x
    engine.queue_length += 1
    engine.counters.pending += 1

cdef inline void push_front(Engine engine, Exchange *x) noexcept:
    x.previous_queued = NULL
    x.next_queued = engine.first
    if engine.first != NULL:
        engine.first.previous_queued = x
    else:
        engine.last = x
    engine.first = x
    engine.queue_length += 1
    engine.counters.pending += 1

cdef inline void unlink(Engine engine, Exchange *x) noexcept:
    if x.previous_queued != NULL:
        x.previous_queued.next_queued = x.next_queued
    else:
        engine.first = x.next_queued
    if x.next_queued != NULL:
        x.next_queued.previous_queued = x.previous_queued
    else:
        engine.last = x.previous_queued
    x.next_queued = NULL
    x.previous_queued = NULL
    engine.queue_length -= 1
    engine.counters.pending -= 1
