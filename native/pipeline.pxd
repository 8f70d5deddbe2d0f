# The order of the rooms, and the server that they belong to.

from native.exchange cimport Stream
from native.state cimport State

cdef class Server(State):
    cdef object dispatch          # coroutine function of cold calls
    cdef object methods           # set of their paths
    cdef dict tasks               # of open cold calls -> key of their peer
    cdef dict cold_of_peer        # key -> open cold calls
    cdef object loop
    cdef void begin_cold(self, Stream *s) noexcept
