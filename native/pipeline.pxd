# The order of the rooms, and the server that they belong to.

from native.exchange cimport Stream
from native.state cimport State
from native.pool cimport Pool

cdef class Server(State):
    cdef object dispatch          # coroutine function of cold calls
    cdef object methods           # path -> Permit bits; 0: open to everybody
    cdef dict tasks               # of open cold calls -> key of their peer
    cdef dict cold_of_peer        # key -> open cold calls
    cdef object loop
    cdef readonly Pool passthrough  # answers the methods that are not known here; None: they are refused
    cdef void begin_cold(self, Stream *s) noexcept
    cdef int begin_relay(self, Stream *s, bytes path) except -1
