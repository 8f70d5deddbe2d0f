# At the message: a permit of the backend, or a place in the queue for one.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Conn, Wire
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport REFUSE, STOP

cdef int admit(State server, Exchange *x, Verdict *v, int64_t now) noexcept
# Parks the request behind others of its connection, or admits it. m: the model asked for, or one of its fallback chain.
# Returns REASON_NONE, or why not.
cdef int start(State server, Exchange *x, Model *m, int64_t now) noexcept
# The gate alone: launches the request or lets it wait. Also for a message of a relayed stream.
cdef int admit_to(State server, Exchange *x, Model *m, int64_t now) noexcept
cdef void stop_waiting(Exchange *x) noexcept          # it is launched, shed, or given up
# For the wire: at the end of a tick in which a gate with waiting requests has got a permit back; and after a write to a
# connection that has parked requests.
cdef void on_permits(const Wire *wire) noexcept
cdef void on_room(Conn *c, int64_t now) noexcept
