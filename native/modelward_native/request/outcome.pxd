# What becomes of an exchange. None of these raises.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Conn, Exchange, Stream
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict

cdef const char *UPSTREAM_REFUSES_US

cdef void watch_deadline(Exchange *x) noexcept
cdef void set_deadline(State server, Exchange *x) noexcept
cdef void clear_deadline(State server, Exchange *x) noexcept
cdef bint fall(State server, Exchange *x, int reason, int64_t now) noexcept
cdef void fail(State server, Exchange *x, int reason, int64_t now) noexcept
cdef void refuse_exchange(State server, Exchange *x, Verdict *v, int64_t now) noexcept
cdef void record(State server, Exchange *x, int code, int64_t now) noexcept
# Begun, or parked until its connection has taken more: REASON_NONE. Or why not: the queue is full, the deadline too near, no
# upstream can be had
cdef int start(State server, Exchange *x, Model *m, int64_t now) noexcept
# latency: how long the backend took, ns; negative where that is not known
cdef void abandon(State server, Exchange *x, int64_t latency, int64_t now) noexcept
# for backend.upstream: an answer as it came (framed), and a status that its server gave. They take what they pass on of it
cdef void forwarded(State server, Exchange *x, Buffer *framed, Buffer *initial, Ending *ending, int64_t now) noexcept
cdef void refused_upstream(
    State server, Exchange *x, int status, bint proven, Buffer *initial, Ending *ending, int64_t now) noexcept
# To the model's backend, or to wait for a permit: REASON_NONE, or why not.
cdef int admit(State server, Exchange *x, Model *m, int64_t now) noexcept
# Gives its permit back, where it has one. latency: as for abandon.
cdef void leave(State server, Exchange *x, int64_t latency, int64_t now) noexcept
cdef void end_stream(Stream *s) noexcept
cdef void end_mirrors(State server) noexcept

# for the wire: the tick ends and `Wire.places` is set; has been written, and something is parked
cdef void on_places(PyObject *server, int64_t now) noexcept
cdef void on_room(Conn *c, int64_t now) noexcept

# for the backend: found in the queue after its time; failed, with the runtime's words about it or NULL; answered, framed
cdef void on_expired(State server, Exchange *x, int64_t now) noexcept
cdef void on_failed(State server, Exchange *x, int reason, const char *words, int64_t now) noexcept
cdef void on_answered(State server, Exchange *x, Buffer *reply, int64_t now) noexcept
