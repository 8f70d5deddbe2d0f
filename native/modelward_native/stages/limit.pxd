# At the message: rates and budgets. Also for calls of which no model runs here.
from libc.stdint cimport int64_t

from modelward_native.limits.limit cimport Payers, mw_meter
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, REFUSE

cdef int limit(State server, Exchange *x, Verdict *v, int64_t now) noexcept
# The verdict on who is over a limit; level: enum mw_level; m: the model asked for, where it may be its limit.
cdef void over(State server, Verdict *v, int level, const Stream *s, const Model *m, int64_t retry) noexcept
# A call or a message of which no model runs here. False with a verdict: it is over a limit.
cdef bint charge(State server, const Stream *s, Verdict *v) noexcept
# Would the sender of a message be refused whatever it asks for? False with a verdict. Nothing is charged.
cdef bint may_ask(State server, const Stream *s, Verdict *v, int64_t now) noexcept
# Charges the sender of a compressed message that is refused before its model is known. It `may_ask`, so each level admits it.
cdef void charge_unread(State server, const Stream *s, int64_t now) noexcept
