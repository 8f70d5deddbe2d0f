"""At completion: what the client is told: an answer, an upstream's own status, or a refusal in words."""
from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.string cimport memset

from modelward_native.backend.cause cimport mw_cause
from modelward_native.backend.connection cimport upstream_of
from modelward_native.backend.pool cimport Pool, pool_of
from modelward_native.detect.suspicion cimport MW_STEP_ROUND
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport MODE_FALLBACK, MODE_TAG, Model
from modelward_native.request.last_good cimport keep_answer
from modelward_native.request.reply cimport fallback_name, is_told, reply_stream_error, restriction_told
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport (
    CODE_OK, REASON_BACKEND_FAILED, REASON_CANARY, REASON_CRASH, REASON_DEADLINE, REASON_INFEASIBLE, REASON_INFLIGHT_BYTES,
    REASON_NO_UPSTREAM, REASON_NO_VERSION, REASON_NONE, REASON_OUT_OF_MEMORY, REASON_OUTPUT_BUDGET, REASON_OUTPUT_GUARD,
    REASON_QUEUE_FULL, REASON_RUN_MEMORY, REASON_SHED,
    REASON_UPSTREAM_CREDENTIALS, REASON_UPSTREAM_LOST, VERDICT_TEXT, Verdict, code_of, refusal)
from modelward_native.shadow.evidence cimport ASSIGNED_NONE, sketch
from modelward_native.stages.stage cimport Result
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.grpc cimport ending_of
from modelward_native.wire.holding cimport release as release_buffer

cdef enum:
    CAUSE = 256                   # bytes of the runtime's error that a caller is told

cdef int64_t SECOND = 1000000000
cdef const char *UPSTREAM_REFUSES_US = "the upstream server refused this proxy's credentials, not yours"


cdef bint reply(State server, Exchange *x, Result *r, int64_t now) noexcept:
    cdef Verdict v
    if x.mirrors != NULL or r.gone:
        return True
    if r.sent_up:
        release_buffer(x.wire, &x.body)
        release_buffer(x.wire, &x.converted)
    elif r.answer != NULL:
        answer(server, x, r, now)
    elif r.ending != NULL and not x.streaming:
        pass_on(x, r)
    else:
        if r.ending != NULL:
            refusal(&v, REASON_BACKEND_FAILED, NULL)
            snprintf(v.text, VERDICT_TEXT, "the upstream answered with status %d", r.status)
            r.verdict = &v
        elif r.verdict == NULL or r.verdict.text[0] == 0:
            if r.verdict == NULL:
                refusal(&v, r.reason, NULL)
                r.verdict = &v
            explain(x, r.verdict, r.words, now)
        refuse(x, r)
    return True


cdef void answer(State server, Exchange *x, Result *r, int64_t now) noexcept:
    cdef Model *asked = x.asked
    if x.fallback_reason != REASON_NONE:
        if is_told(x):
            x.ending.fallback = fallback_name(x.fallback_reason)
    elif asked.last_good != NULL and not x.streaming and not x.flagged and not asked.gate.shut and (
            x.step < MW_STEP_ROUND and not x.faulty):
        keep_answer(asked.last_good, server.listener.limiter, x, r.answer, now)
    x.ending.restricted = restriction_told(x)
    if x.flagged and (asked.mode == MODE_TAG or asked.mode == MODE_FALLBACK):
        x.ending.has_anomaly_score = True
        x.ending.anomaly_score = x.score
    if x.assigned != ASSIGNED_NONE and x.step < MW_STEP_ROUND:    # else it is not as the version gave it
        sketch(x, r.answer)
    x.reply = r.answer[0]
    memset(r.answer, 0, sizeof(Buffer))
    if r.initial != NULL:
        take_metadata(x, r)
    r.status = CODE_OK


cdef void take_metadata(Exchange *x, Result *r) noexcept:
    """Passes on an upstream's metadata. Only a unary call has a place for it: messages of a stream have none."""
    if x.streaming:
        return
    x.initial = r.initial[0]
    x.ending.metadata = r.ending.metadata
    memset(r.initial, 0, sizeof(Buffer))
    memset(&r.ending.metadata, 0, sizeof(Buffer))


cdef void pass_on(Exchange *x, Result *r) noexcept:
    """An upstream's own status is the client's to see."""
    r.reason = REASON_BACKEND_FAILED
    x.ending.code = r.status
    take_metadata(x, r)
    x.ending.message = r.ending.message
    x.ending.details = r.ending.details
    r.ending.message = NULL
    r.ending.details = NULL


cdef void refuse(Exchange *x, Result *r) noexcept:
    cdef Buffer framed
    if x.streaming:
        memset(&framed, 0, sizeof(framed))
        if reply_stream_error(x, r.verdict, &framed):
            x.reply = framed
    else:
        ending_of(&x.ending, r.verdict)
        if x.flagged:
            x.ending.has_anomaly_score = True
            x.ending.anomaly_score = x.score
    r.reason = r.verdict.reason
    r.status = code_of(r.reason)


cdef const char *why_no_upstream(const Exchange *x) noexcept:
    cdef const Model *m = x.model if x.model != NULL else x.asked
    cdef Pool pool
    if m != NULL and m.pool != NULL:
        pool = pool_of(m.pool)
        if pool.holds_open(None, m):
            return "an operator keeps requests from the upstream servers of this model"
        if x.stream != NULL and x.stream.relay != NULL and pool.holds_open(upstream_of(x.stream.relay.upstream).endpoint, m):
            return "an operator keeps requests from the upstream server of this stream; open another one"
        if pool.untrusted():
            return "no upstream server of this model can be reached: TLS with it fails"
    return "no upstream server of this model can be reached"


cdef void explain(const Exchange *x, Verdict *v, const char *words, int64_t now) noexcept:
    """Writes the text of a failure. For an exceeded limit, `describe` in request/verdict writes it when it is needed."""
    cdef char cause[CAUSE]
    if v.reason == REASON_DEADLINE:
        snprintf(v.text, VERDICT_TEXT, "deadline exceeded after %.1f ms", (now - x.entered) / 1e6)
    elif v.reason == REASON_QUEUE_FULL:
        snprintf(v.text, VERDICT_TEXT, "too many requests wait for this model; do not retry at once")
    elif v.reason == REASON_SHED:
        snprintf(v.text, VERDICT_TEXT, "too many requests wait for this model, and one of higher priority, or of a caller with "
                 "fewer of them, took the place; do not retry at once")
    elif v.reason == REASON_INFEASIBLE:
        snprintf(v.text, VERDICT_TEXT, "the deadline would pass before this model's turn comes (%.1f ms are left); do not retry "
                 "at once", (x.due - now) / 1e6)
    elif v.reason == REASON_INFLIGHT_BYTES:
        snprintf(v.text, VERDICT_TEXT, "no room for the message: upstreams have not taken those before it; retry shortly")
    elif v.reason == REASON_OUT_OF_MEMORY:
        snprintf(v.text, VERDICT_TEXT, "no room for the answer: it is too large, or clients have not taken those before it")
    elif v.reason == REASON_CANARY:
        snprintf(v.text, VERDICT_TEXT, "this version of the model does not answer as it should and is out of service until it "
                 "does; ask for another version")
    elif v.reason == REASON_NO_VERSION:
        snprintf(v.text, VERDICT_TEXT, "no version of this model may answer now: RepositoryIndex says why")
    elif v.reason == REASON_RUN_MEMORY:
        snprintf(v.text, VERDICT_TEXT, "the model would need more memory for this input than it may have; send a smaller one")
    elif v.reason == REASON_OUTPUT_GUARD:
        snprintf(v.text, VERDICT_TEXT, "the model's answer did not pass the checks of its outputs and is not given out")
    elif v.reason == REASON_OUTPUT_BUDGET:
        v.retry_ns = SECOND
        snprintf(v.text, VERDICT_TEXT, "the model has given out as many such answers as it may for now; retry later")
    elif v.reason == REASON_CRASH:
        snprintf(v.text, VERDICT_TEXT, "this version of the model is not run with inputs of these shapes: a process that did so "
                 "died; do not retry, send other shapes or ask for another version")
    elif v.reason == REASON_NO_UPSTREAM:
        snprintf(v.text, VERDICT_TEXT, "%s", why_no_upstream(x))
    elif v.reason == REASON_UPSTREAM_CREDENTIALS:
        snprintf(v.text, VERDICT_TEXT, "%s", UPSTREAM_REFUSES_US)
    elif v.reason == REASON_UPSTREAM_LOST:
        snprintf(v.text, VERDICT_TEXT, "the upstream server was lost while it had the request, which may have run there")
    elif v.reason == REASON_BACKEND_FAILED and x.asked != NULL and x.asked.pool != NULL:
        snprintf(v.text, VERDICT_TEXT, "the upstream server of this model failed on the request")
    elif v.reason == REASON_BACKEND_FAILED:
        cause[0] = 0
        # only a caller with an identity is told details of the model
        if words != NULL and x.stream != NULL and x.stream.caller != NULL and x.stream.caller.name != NULL:
            mw_cause(words, cause, CAUSE)
        snprintf(v.text, VERDICT_TEXT, "the model failed on this input%s%s", <const char *>(b": " if cause[0] else b""), cause)
