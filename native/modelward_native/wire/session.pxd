# The HTTP/2 session of a client's connection, over libnghttp2.
from modelward_native.wire.types cimport Conn, Transport

cdef bint open_session(Conn *c) noexcept              # False: no memory
cdef void flush_session(Transport *t) noexcept        # Transport.flush
# Counts a reset against the connection and its peer. weight: 1, or MW_RESET_FAULT where the client made us send it.
cdef void count_resets(Conn *c, int weight) noexcept
