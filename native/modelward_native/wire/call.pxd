# A cold call: one stream answered by a Python coroutine.
from libc.stdint cimport uint64_t

from modelward_native.access.access cimport Access
from modelward_native.wire.types cimport Stream
from modelward_native.wire.buffer cimport Buffer

cdef class Call:
    cdef Stream *stream           # NULL once the client has let go
    cdef readonly bytes path
    cdef readonly str peer
    cdef readonly uint64_t peer_key   # of its budgets: the address alone, a forwarded one where a trusted proxy has told it
    cdef readonly dict metadata   # header name -> value, the last of several; -bin values as they came
    cdef readonly set repeated    # names of those that came several times
    cdef public object task       # the coroutine's task; cancelled when the client lets go
    cdef object messages          # deque of bytes
    cdef size_t held              # their bytes, which count as in flight
    cdef object waiter            # future of the coroutine that waits for a message
    cdef object room              # future of the coroutine that waits for the output to drain
    cdef bint ended               # no more messages will come
    cdef Access access            # None: everybody may do everything

    cdef void hold(self, Py_ssize_t more) noexcept
    cdef int take(self, Buffer *message) except -1
    cdef int end(self) except -1
    cdef int gone(self) except -1
    cdef int drained(self) except -1
    cdef bint listens(self) except -1

cdef Call call_of(Stream *s)
cdef Call call_begin(Stream *s, str peer)
