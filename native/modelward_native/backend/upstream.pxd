# Requests forwarded to upstreams.
from libc.stdint cimport int64_t, uint32_t

from modelward_native.backend.connection cimport UpstreamConnection
from modelward_native.backend.pool cimport Endpoint, Pool
from modelward_native.backend.upstream_call cimport UpstreamCall
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.timer.deadline cimport mw_timer

# False where no endpoint can take the request now.
cdef bint forward(State server, Exchange *x, Pool pool, Endpoint avoid, int64_t now) noexcept
cdef void cancel_call(Exchange *x) noexcept

# for backend.upstream_stream: a call's timer, and what a call that is still waited for has brought
cdef void on_hedge(mw_timer *timer, int64_t now) noexcept
cdef void conclude_call(State server, UpstreamCall *call, uint32_t error, Endpoint endpoint, int64_t now) noexcept
# for backend.connection: everything that waits for an endpoint that does not even answer a PING is asked of another one too,
# once there is one. Whether anything was.
cdef bint resend_all(UpstreamConnection upstream, int64_t now) noexcept
