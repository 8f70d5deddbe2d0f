# A response parameter of an answer that is written already.
from libc.stdint cimport uint32_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.buffer cimport Buffer

# modelward_output_guard: the bits 1 << kind of guards (outputs/guard.h). False for want of memory.
cdef bint add_guards(Exchange *x, Buffer *framed, uint32_t guards) noexcept
