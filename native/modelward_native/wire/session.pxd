# The HTTP/2 session of a client's connection, which libnghttp2 keeps.
from modelward_native.wire.types cimport Conn, Transport

cdef bint open_session(Conn *c) noexcept              # False for want of memory
cdef void flush_session(Transport *t) noexcept        # Transport.flush
# nghttp2 limits the resets that a client sends; those that it makes us send cost as much, and so do its others'. weight: 1, or
# MW_RESET_FAULT.
cdef void count_resets(Conn *c, int weight) noexcept
