# Compressed messages on their way to be read: a first piece, a short one on the loop, the rest in a thread.
from libc.stdint cimport int64_t, uint64_t

from modelward_native.backend.admit cimport mw_waiting
from modelward_native.backend.worker_thread cimport mw_worker_thread
from modelward_native.wire.buffer cimport Buffer
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.wire.packed cimport Packed

cdef class Inflater:
    cdef object loop              # None: everything is inflated at once
    cdef int eventfd              # -1 until the thread is needed
    cdef mw_worker_thread *thread  # owned; NULL until it is needed
    cdef mw_waiting waiting
    cdef Packed *running          # lent to the thread
    cdef int partial              # how many wait so
    cdef readonly uint64_t queued
    cdef bint warned

    # The message's first bytes, in work.out. Takes the buffer. NULL, with an enum Inflated in *state, where that fails.
    cdef Packed *open(self, Stream *s, Exchange *x, Buffer *message, int *state) noexcept
    # On the loop, as far as that is short; then as enum Inflated, INFLATED_PART where it has to be queued.
    cdef int unpack(self, Packed *p) noexcept
    # on_unpacked is called when it is whole. False where others have a better claim.
    cdef bint queue(self, Packed *p) noexcept
    cdef bint wait(self, Packed *p) noexcept
    cdef bint others_wait(self, const Packed *p) noexcept
    cdef void next(self) noexcept
    cdef void finish(self, Packed *p) noexcept
    cdef bint begin_thread(self) noexcept
    cdef void warn(self) noexcept
    cdef void drop(self, Stream *s) noexcept   # its message is no longer needed

# Frees what is left of it. The stream refers to it no more.
cdef void packed_free(Packed *p) noexcept
# Its contents in place of `message`; whole messages only.
cdef void take_unpacked(Packed *p, Buffer *message) noexcept
