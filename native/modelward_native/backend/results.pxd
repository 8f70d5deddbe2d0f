# What becomes of a run: its requests answered, failed, or queued again.
from libc.stdint cimport int64_t

from modelward_native.backend.batch cimport Scheduler
from modelward_native.backend.engine cimport Engine

# The run has ended, and its requests get what it made.
cdef void complete(Scheduler scheduler, Engine engine, bint on_loop) noexcept
# It did not take place: its requests fail.
cdef void fail_run(Scheduler scheduler, Engine engine, int64_t now) noexcept
# Back to the head of the queue, in order. alone: each will run by itself.
cdef void queue_again(Engine engine, bint alone) noexcept
