# The end of a tick, which is all that the loop does between two looks at its sockets.
from libc.stdint cimport int64_t

from modelward_native.wire.types cimport Wire

cdef void flush_all(Wire *wire) noexcept
# A round of timers has fired: their fallbacks and refusals leave in one write per connection, unless a batch will do that.
cdef void flush_after_timers(Wire *wire, int64_t now) noexcept
