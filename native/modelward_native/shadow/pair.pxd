# The pairs that a shadow's answers make with those of the version asked for.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.shadow.mirror cimport Mirrors
from modelward_native.wire.buffer cimport Buffer

# The end of a copy: the answer, framed, or NULL where there is none. due: its time was up. The exchange is done but for its
# references.
cdef void pair(Mirrors *mirrors, Exchange *y, const Buffer *reply, bint due, int64_t now) noexcept
# Ended by neither: says nothing of the shadow.
cdef void drop(Mirrors *mirrors, Exchange *y) noexcept
