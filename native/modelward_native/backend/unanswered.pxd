# Messages that went up a relayed stream: each holds its permit until it is answered, or until that cannot be told. Nothing here
# raises.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.backend.relayed cimport Relay
from modelward_native.request.tensor cimport mw_span

# The message of x, which holds a permit, goes up now. Takes a reference of its own; False for want of memory.
cdef bint note_sent(Relay *r, Exchange *x, int64_t now) noexcept
cdef void undo_sent(Relay *r) noexcept                # the last one has not gone after all
cdef void hear_answer(Relay *r, mw_span message, int64_t now) noexcept    # ModelStreamInferResponse
cdef void forget_sent(Relay *r, int64_t now) noexcept  # the stream has its ending: nothing more is answered
