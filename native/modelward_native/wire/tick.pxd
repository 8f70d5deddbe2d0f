# The end of a tick, which is all that the loop does between two looks at its sockets.
from modelward_native.wire.types cimport Wire

cdef void flush_all(Wire *wire) noexcept
