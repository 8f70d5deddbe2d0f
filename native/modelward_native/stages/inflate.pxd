# At the message: compressed ones.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, REFUSE, STOP
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.packed cimport Packed

cdef int inflate(State server, Exchange *x, Verdict *v, int64_t now) noexcept
# A message has come: its first piece is inflated, by which its model is known; and not even that where the budgets refuse
# whatever it asks for. x: NULL for a call that is passed through, which has paid already. Takes the message, but on False.
cdef bint open_packed(State server, Stream *s, Exchange *x, Buffer *message, Verdict *v, int64_t now) noexcept
# The verdict on a message that waits in vain to be inflated.
cdef void busy(Verdict *v) noexcept
# For wire.inflater: a message that was queued is inflated, or not worth it; it is freed behind that.
cdef void on_unpacked(Packed *packed, int64_t now) noexcept
