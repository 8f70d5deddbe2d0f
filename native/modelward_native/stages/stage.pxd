# What a stage of the pipeline returns, and what completion works on.
from libc.stdint cimport int64_t

from modelward_native.outputs.class_scores cimport mw_found_output
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.verdict cimport Verdict
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.holding cimport release as release_buffer

cdef enum Step:
    GO_ON = 0                     # to the next stage
    REFUSE                        # with the verdict
    STOP                          # the request waits or has ended: what took it calls the driver later, if at all

cdef struct Result:               # how an exchange has ended so far; lives on the driver's stack
    int reason                    # enum Reason; REASON_NONE: answered, or (until `reply`) the upstream's status is the answer
    int status                    # gRPC status that the exchange ends with; an upstream's own until `reply`
    Verdict *verdict              # borrowed: with the reason, where a stage has written it; NULL: `reply` writes it
    const char *words             # borrowed: the runtime's error message; NULL for none
    Buffer *answer                # borrowed: a framed answer, which `reply` takes; NULL where there is none
    const mw_found_output *found  # borrowed: its guarded outputs, where `watch` has found them for `guard`
    Buffer made                   # owned: the answer of a fallback that is no model
    Buffer *initial               # borrowed: an upstream's metadata before its answer, and its trailers; NULL for none
    Ending *ending
    bint begun                    # its backend was working on it when it failed
    bint gone                     # its client has let go
    bint sent_up                  # it went up a relayed stream, which brings its answers, any number of them


cdef inline void withhold(Exchange *x, Result *r, int reason) noexcept:
    """The answer is not given out: the fallback chain answers in its place, or the reason is told."""
    release_buffer(x.wire, r.answer)
    r.answer = NULL
    r.found = NULL
    r.reason = reason
    r.initial = NULL              # an upstream's words on an answer that is not given out
    r.ending = NULL
