# At the message: which model and version it is for.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, REFUSE

cdef const char *NAME_FIRST

cdef int resolve(State server, Exchange *x, Verdict *v, int64_t now) noexcept
# The verdict on a message whose model or version, by these names, is not served.
cdef void not_found(State server, Exchange *x, mw_span name, mw_span version, Verdict *v, int64_t now) noexcept


cdef inline void ask(Exchange *x, Model *m) noexcept:
    """Sets the model that the exchange asks for. The exchange keeps its settings to the end, even across a reload."""
    if x.asked != NULL:
        x.asked.users -= 1
    x.asked = m
    m.users += 1
