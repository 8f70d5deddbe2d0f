"""At the message: whether the caller may ask the model. Before `limit`: a caller that may not takes nothing from a budget."""
from libc.stdint cimport int64_t

from modelward_native.access.identity cimport NOT_READ, PERMIT_INFER, PERMIT_SHADOW, PERMIT_STREAM, may
from modelward_native.access.permissions cimport permit_model
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict


cdef int permit(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    if server.access is None or x.number == NOT_READ:
        return GO_ON
    if not permit_model(x.stream, x.number, PERMIT_STREAM if x.streaming else PERMIT_INFER, v):
        return REFUSE
    if x.stream.mirrored:
        x.mirrored = x.mirrored or may(x.stream.caller, x.number, PERMIT_SHADOW)
    return GO_ON
