# At the message: rates and budgets. Also for calls that no model here answers.
from libc.stdint cimport int64_t

from modelward_native.limits.limit cimport Payers, mw_meter
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, REFUSE

cdef int limit(State server, Exchange *x, Verdict *v, int64_t now) noexcept
# The verdict on a sender over a limit. level: enum mw_level; m: the model asked for, where the limit may be its own.
cdef void over(State server, Verdict *v, int level, const Stream *s, const Model *m, int64_t retry) noexcept
# Charges a call or message that no model here answers. False with a verdict: it is over a limit.
cdef bint charge(State server, const Stream *s, Verdict *v) noexcept
# Whether the sender has budget for any request at all; False with a verdict. Nothing is charged.
cdef bint may_ask(State server, const Stream *s, Verdict *v, int64_t now) noexcept
# Charges the sender of a compressed message that is refused before its model is known. It `may_ask`, so each level admits it.
cdef void charge_unread(State server, const Stream *s, int64_t now) noexcept
