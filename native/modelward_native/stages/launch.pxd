# To the backend.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State

# With a permit where the backend asks for one: REASON_NONE, or why not.
cdef int launch(State server, Exchange *x, Model *m, int64_t now) noexcept


cdef inline bint is_relayed(const Exchange *x) noexcept:
    """A message of a stream for a model of upstreams: it goes up the stream's relay, but for a fallback's.
    That of a model whose answers are checked goes up as a call of its own."""
    return x.streaming and x.tried == 0 and x.stream != NULL and x.model.pool != NULL and x.model.guarded == NULL
