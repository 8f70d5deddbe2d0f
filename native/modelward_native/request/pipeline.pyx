"""The life of a request: all stages in their order, and what drives a request through them.

There are three tables. A call goes through the first when its headers are complete. Each message of an inference goes through the
second. Each exchange goes through the third when it ends, in whatever way. Each stage is a module in modelward_native/stages.
"""
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

from modelward_native.request.answer cimport mw_answer_learn
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.request.model cimport STAGE_ACCESS, STAGE_DECODE, STAGE_LIMIT, STAGE_SCORE, Fallback
from modelward_native.request.own_parameters cimport mw_drop_own_parameters
from modelward_native.request.reply cimport reply_from_upstream
from modelward_native.request.state cimport State
from modelward_native.request.streams cimport begin_body, refuse_call
from modelward_native.request.verdict cimport (
    CODE_DEADLINE_EXCEEDED, CODE_INVALID_ARGUMENT, CODE_NOT_FOUND, REASON_BACKEND_FAILED, REASON_DEADLINE,
    REASON_OUT_OF_MEMORY, REASON_UPSTREAM_CREDENTIALS, Verdict, blames_backend)
from modelward_native.stages.admit cimport admit
from modelward_native.stages.deadline cimport deadline
from modelward_native.stages.decode cimport decode
from modelward_native.stages.divert cimport divert
from modelward_native.stages.fallback cimport fallback
from modelward_native.stages.hold cimport hold
from modelward_native.stages.guard cimport guard
from modelward_native.stages.identify cimport identify
from modelward_native.stages.inflate cimport inflate
from modelward_native.stages.limit cimport limit
from modelward_native.stages.method cimport method
from modelward_native.stages.mirror cimport mirror
from modelward_native.stages.observe cimport observe
from modelward_native.stages.peer cimport peer
from modelward_native.stages.permit cimport permit
from modelward_native.stages.record cimport record
from modelward_native.stages.release cimport release
from modelward_native.stages.reply cimport reply
from modelward_native.stages.resolve cimport resolve
from modelward_native.stages.restrict cimport restrict
from modelward_native.stages.score cimport score
from modelward_native.stages.send cimport send
from modelward_native.stages.soften cimport soften
from modelward_native.stages.stage cimport GO_ON, STOP, Result
from modelward_native.stages.timeout cimport timeout
from modelward_native.stages.trim cimport trim
from modelward_native.stages.watch cimport watch
from modelward_native.telemetry.histogram cimport mw_histogram_record_ns
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.wire.grpc cimport write_prefix
from modelward_native.wire.headers cimport refuses_us
from modelward_native.wire.inflater cimport packed_free
from modelward_native.wire.holding cimport release as release_buffer

cdef enum:
    SAMPLE = 64                   # one message in 64 has its stages timed: a clock reading costs 25 ns
    UNCOUNTED = -2                # its time is in no metric
    UNTIMED = -1                  # counted with the next stage that has a metric, or not at all
    MOST_STAGES = 16              # of a phase
    PREFIX = 5                    # bytes before a message, of gRPC

# A stage of a call or a message returns an enum Step. A stage of completion returns False to stop: a fallback was started, and
# completion begins again when it has answered.
cdef struct CallRow:
    const char *name
    int (*run)(State, Stream *, Verdict *, int64_t now) noexcept
    const char *refuses           # reasons, by their names
    const char *why               # the reason for its place in the order

cdef struct MessageRow:
    const char *name
    int (*run)(State, Exchange *, Verdict *, int64_t now) noexcept
    int metric                    # enum request.model.Stage, UNTIMED or UNCOUNTED
    const char *refuses
    const char *why

cdef struct EndRow:
    const char *name
    bint (*run)(State, Exchange *, Result *, int64_t now) noexcept
    const char *why

cdef CallRow[MOST_STAGES] AT_HEADERS
cdef MessageRow[MOST_STAGES] AT_MESSAGE
cdef EndRow[MOST_STAGES] AT_COMPLETION
cdef int header_stages = 0, message_stages = 0, end_stages = 0    # rows of each table: they grow only at import
cdef int after_identify, after_inflate    # where a call goes on that waited for its caller, and a message that was inflated


# Each adds a row. The first two return the place of the next.
cdef int at_headers(CallRow row) except -1:
    global header_stages
    assert row.run != NULL and header_stages < MOST_STAGES, row.name
    AT_HEADERS[header_stages] = row
    header_stages += 1
    return header_stages


cdef int at_message(MessageRow row) except -1:
    global message_stages
    assert row.run != NULL and message_stages < MOST_STAGES, row.name
    AT_MESSAGE[message_stages] = row
    message_stages += 1
    return message_stages


cdef int at_completion(EndRow row) except -1:
    global end_stages
    assert row.run != NULL and end_stages < MOST_STAGES, row.name
    AT_COMPLETION[end_stages] = row
    end_stages += 1


at_headers(CallRow("timeout", timeout, "MALFORMED_TIMEOUT", "a deadline that cannot be read is not guessed"))
at_headers(CallRow("peer", peer, "PEER_LIMIT", "a peer over its limit costs no byte of a body and no check of a credential"))
after_identify = at_headers(CallRow(
    "identify", identify, "UNAUTHENTICATED CREDENTIALS_LIMIT ACCESS_BUSY ACCESS_UNAVAILABLE",
    "the body of an unknown caller stays unread while its credential is checked"))
at_headers(CallRow("method", method, "PERMISSION_DENIED UNAUTHENTICATED",
                   "a call that the caller may not make is not opened"))

at_message(MessageRow("resolve", resolve, UNTIMED, "MALFORMED_MESSAGE",
                      "the next stages depend on the model; nothing is decoded for it"))
at_message(MessageRow("permit", permit, STAGE_ACCESS, "PERMISSION_DENIED UNAUTHENTICATED",
                      "a caller that may not ask the model takes nothing from a budget"))
at_message(MessageRow("restrict", restrict, UNTIMED, "RESTRICTED",
                      "a blocked caller costs one look, and takes nothing from a budget"))
at_message(MessageRow("limit", limit, STAGE_LIMIT, "PEER_LIMIT IDENTITY_LIMIT MODEL_LIMIT TOTAL_LIMIT",
                      "nothing more is spent on a request that has no budget left"))
after_inflate = at_message(MessageRow(
    "inflate", inflate, UNCOUNTED, "INFLATED_TOO_LARGE MALFORMED_FRAMING MALFORMED_MESSAGE UNKNOWN_MODEL UNKNOWN_VERSION "
    "NO_UPSTREAM QUEUE_FULL DEADLINE OUT_OF_MEMORY", "costs more than all stages before it"))
at_message(MessageRow("decode", decode, STAGE_DECODE, "MALFORMED_MESSAGE INVALID_INPUT UNKNOWN_MODEL UNKNOWN_VERSION NO_VERSION "
                      "NO_UPSTREAM UNSUPPORTED_FEATURE PERMISSION_DENIED UNAUTHENTICATED",
                      "what passes is a request that its model takes"))
at_message(MessageRow("score", score, STAGE_SCORE, "ANOMALY", "needs the tensors"))
at_message(MessageRow("divert", divert, UNTIMED, "RESTRICTED",
                      "its rows are scored, so that evidence falls again with honest ones"))
at_message(MessageRow("deadline", deadline, UNTIMED, "DEADLINE", "the timer is set before the request may wait for anything"))
at_message(MessageRow("admit", admit, UNTIMED, "QUEUE_FULL SHED INFEASIBLE CANARY NO_VERSION CRASH NO_UPSTREAM RELAYED_STREAMS "
                      "UNSUPPORTED_FEATURE INFLIGHT_BYTES OUT_OF_MEMORY",
                      "a permit of the backend, or a place in its queue, behind all that could refuse the request"))

at_completion(EndRow("release", release, "others may have the permit, whatever becomes of the answer"))
at_completion(EndRow("mirror", mirror, "it is known what the model said, and a shadow never delays a client"))
at_completion(EndRow("watch", watch, "a shadow has its copy as it was, and what the evidence says of this answer counts for it"))
at_completion(EndRow("guard", guard, "a shadow is compared with what the model said; a fallback may answer instead of it"))
at_completion(EndRow("fallback", fallback, "where the service is to blame, the fallback chain answers instead"))
at_completion(EndRow("observe", observe, "it is known who answers, and the answer is still as it was given"))
at_completion(EndRow("soften", soften, "shadows, capture and evidence have had the answer as it was given"))
at_completion(EndRow("trim", trim, "all that look at outputs which the client has not asked for have done so"))
at_completion(EndRow("reply", reply, "it is known what the client is told"))
at_completion(EndRow("record", record, "each exchange ends here, also a shadow's, so that none goes uncounted"))
at_completion(EndRow("hold", hold, "the model's times are counted, and nothing is left to do but to send"))
at_completion(EndRow("send", send, "answers leave in the order of their stream"))


def stages() -> dict[str, list[tuple[str, str, str]]]:
    """For the documents: the stages of each phase in order; of each its name, its refusals, and the reason for its place."""
    cdef int i
    return {
        "headers": [(AT_HEADERS[i].name.decode(), AT_HEADERS[i].refuses.decode(), AT_HEADERS[i].why.decode())
                    for i in range(header_stages)],
        "message": [(AT_MESSAGE[i].name.decode(), AT_MESSAGE[i].refuses.decode(), AT_MESSAGE[i].why.decode())
                    for i in range(message_stages)],
        "completion": [(AT_COMPLETION[i].name.decode(), "", AT_COMPLETION[i].why.decode()) for i in range(end_stages)],
    }


# ---- arrival ---------------------------------------------------------------------------------------------------

cdef void call_from(State server, Stream *s, int first, int64_t now) noexcept:
    cdef Verdict v
    cdef int i, step
    for i in range(first, header_stages):
        step = AT_HEADERS[i].run(server, s, &v, now)
        if step == GO_ON:
            continue
        if step != STOP:
            refuse_call(server, s, &v)
        return
    begin_body(server, s)


cdef void begin_call(State server, Stream *s, int64_t now) noexcept:
    call_from(server, s, 0, now)


cdef void go_on_identified(State server, Stream *s, int64_t now) noexcept:
    call_from(server, s, after_identify, now)


cdef inline void message_from(State server, Exchange *x, int first, bint timed, int64_t now) noexcept:
    cdef Verdict v
    cdef int i, step
    cdef int64_t before = mw_now_ns() if timed else 0, after
    for i in range(first, message_stages):
        step = AT_MESSAGE[i].run(server, x, &v, now)
        if step != GO_ON:
            if step != STOP:
                if x.stream.packed != NULL and x.stream.packed.exchange == x:
                    packed_free(x.stream.packed)    # refused before it was inflated: its stream goes on
                refused(server, x, &v, now)
            return
        if timed and AT_MESSAGE[i].metric != UNTIMED:
            after = mw_now_ns()
            if x.asked != NULL and AT_MESSAGE[i].metric != UNCOUNTED:
                mw_histogram_record_ns(&x.asked.counters.stage[AT_MESSAGE[i].metric], after - before)
            before = after
            if AT_MESSAGE[i].metric == STAGE_SCORE:    # it stands for SAMPLE requests that no stage refused
                server.callers.note_spent(x.stream, SAMPLE, SAMPLE * x.predicted)


cdef void begin_request(State server, Exchange *x, int64_t now) noexcept:
    server.sample += 1
    message_from(server, x, 0, server.sample % SAMPLE == 0, now)


cdef void go_on_decoding(State server, Exchange *x, int64_t now) noexcept:
    message_from(server, x, after_inflate, False, now)


# ---- completion ------------------------------------------------------------------------------------------------

cdef void complete(State server, Exchange *x, Result *r, int64_t now) noexcept:
    cdef int i
    for i in range(end_stages):
        if not AT_COMPLETION[i].run(server, x, r, now):
            return


cdef void refused(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef Result r
    memset(&r, 0, sizeof(r))
    r.reason = v.reason
    r.verdict = v
    complete(server, x, &r, now)


cdef void failed(State server, Exchange *x, int reason, const char *words, int64_t now) noexcept:
    cdef Result r
    memset(&r, 0, sizeof(r))
    r.reason = reason
    r.words = words if x.model == x.asked else NULL    # a caller is told about the model it asked for, not its fallbacks
    complete(server, x, &r, now)


cdef void answered(State server, Exchange *x, Buffer *answer, int64_t now) noexcept:
    cdef Result r
    memset(&r, 0, sizeof(r))
    mw_answer_learn(x.model.answers, answer.size, x.rows)
    r.answer = answer
    complete(server, x, &r, now)


cdef void drop_own_parameters(Buffer *framed) noexcept:
    """What says that a guard has acted is ours to say. A packed message is the client's to read."""
    cdef size_t size = 0
    if framed.size > PREFIX and framed.data[0] == 0:
        size = mw_drop_own_parameters(framed.data + PREFIX, framed.size - PREFIX)
        if size != framed.size - PREFIX:
            framed.size = PREFIX + size
            write_prefix(framed.data, False, <uint32_t>size)


cdef void answered_upstream(State server, Exchange *x, Buffer *framed, Buffer *initial, Ending *ending, int64_t now) noexcept:
    """The upstream's bytes as they came. What the guards add to the answer is appended."""
    cdef Result r
    cdef const Fallback *by = NULL
    memset(&r, 0, sizeof(r))
    r.answer = framed
    if x.mirrors == NULL:
        drop_own_parameters(framed)
        if x.model != x.asked:
            by = &x.asked.fallbacks[x.tried - 1]
        mw_answer_learn(x.model.answers, framed.size, x.rows)
        if not reply_from_upstream(x, by, framed):
            release_buffer(x.wire, framed)
            failed(server, x, REASON_OUT_OF_MEMORY, NULL, now)
            return
        r.initial = initial
        r.ending = ending
    complete(server, x, &r, now)


cdef void refused_upstream(
        State server, Exchange *x, int status, bint proven, Buffer *initial, Ending *ending, int64_t now) noexcept:
    """What the upstream is to blame for, a fallback may answer; the rest is the client's to see. Of a model that stands in, the
    client sees nothing: it has failed."""
    cdef Result r
    memset(&r, 0, sizeof(r))
    r.status = status
    r.initial = initial
    r.ending = ending
    if x.mirrors == NULL and refuses_us(x.stream, status, proven):
        failed(server, x, REASON_UPSTREAM_CREDENTIALS, NULL, now)
        return
    if x.mirrors == NULL and (status == CODE_NOT_FOUND or status == CODE_INVALID_ARGUMENT):
        x.model.signature_stale = True    # it may have changed over there
    if x.model != x.asked:
        failed(server, x, REASON_DEADLINE if status == CODE_DEADLINE_EXCEEDED else REASON_BACKEND_FAILED, NULL, now)
        return
    if blames_backend(status) or (status == CODE_NOT_FOUND and not x.named and x.asked != NULL and not x.asked.undecoded):
        r.reason = REASON_DEADLINE if status == CODE_DEADLINE_EXCEEDED else REASON_BACKEND_FAILED
    complete(server, x, &r, now)


cdef void sent_up(State server, Exchange *x, int64_t now) noexcept:
    cdef Result r
    memset(&r, 0, sizeof(r))
    r.sent_up = True
    complete(server, x, &r, now)


cdef void let_go(State server, Exchange *x, int64_t now) noexcept:
    cdef Result r
    memset(&r, 0, sizeof(r))
    r.gone = True
    complete(server, x, &r, now)
