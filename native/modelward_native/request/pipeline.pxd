# The order of the stages, and what drives a request through them. Nothing here raises.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.wire.buffer cimport Buffer, Ending

# Arrival, in this order: the headers are complete; the caller is known; a message is complete; a message is inflated.
cdef void begin_call(State server, Stream *s, int64_t now) noexcept
cdef void go_on_identified(State server, Stream *s, int64_t now) noexcept
cdef void begin_request(State server, Exchange *x, int64_t now) noexcept
cdef void go_on_decoding(State server, Exchange *x, int64_t now) noexcept

# Completion, in this order: a stage refuses; the backend fails (words: the runtime's error, or NULL); it answers (framed; taken);
# an upstream answers; an upstream refuses with its own status; a message went up a relayed stream; the client has let go.
cdef void refused(State server, Exchange *x, Verdict *v, int64_t now) noexcept
cdef void failed(State server, Exchange *x, int reason, const char *words, int64_t now) noexcept
cdef void answered(State server, Exchange *x, Buffer *answer, int64_t now) noexcept
cdef void answered_upstream(State server, Exchange *x, Buffer *framed, Buffer *initial, Ending *ending, int64_t now) noexcept
cdef void refused_upstream(
    State server, Exchange *x, int status, bint proven, Buffer *initial, Ending *ending, int64_t now) noexcept
cdef void sent_up(State server, Exchange *x, int64_t now) noexcept
cdef void let_go(State server, Exchange *x, int64_t now) noexcept
