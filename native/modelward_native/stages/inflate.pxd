# At the message: inflates a compressed one.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, REFUSE, STOP
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.packed cimport Packed

cdef int inflate(State server, Exchange *x, Verdict *v, int64_t now) noexcept
# Inflates the first piece of a message, which names its model; not even that where the budgets would refuse any request.
# x: NULL for a call that is passed through, which has paid already. Takes the message, unless it returns False with a verdict.
cdef bint open_packed(State server, Stream *s, Exchange *x, Buffer *message, Verdict *v, int64_t now) noexcept
# The verdict on a message that finds the queue for inflation full.
cdef void busy(Verdict *v) noexcept
# For wire.inflater: a queued message is inflated or refused. It is freed after the call.
cdef void on_unpacked(Packed *packed, int64_t now) noexcept
