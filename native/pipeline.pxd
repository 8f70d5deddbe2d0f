# The order of the rooms, and the server that they belong to.

from native.exchange cimport Stream
from native.state cimport State

cdef class Server(State):
    cdef object dispatch          # coroutine function of cold calls
    cdef object methods           # set of their paths
    cdef set tasks
    cdef object loop
    cdef void begin_cold(self, Stream *s) noexcept
