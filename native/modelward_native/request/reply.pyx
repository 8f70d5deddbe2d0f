"""Answers: ModelInferResponse and ModelStreamInferResponse, framed, in one allocation each."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memmove, memset, strlen

from modelward_native.detect.suspicion cimport MW_STEP_DELAY, MW_STEP_FALLBACK, MW_STEP_ROUND, MW_STEP_TOP_CLASS
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.holding cimport count_bytes, grow_beside, pay_for
from modelward_native.wire.grpc cimport buffer_reserve, write_prefix
from modelward_native.request.oip cimport mw_oip_reply_size, mw_oip_reply_write, mw_reply, mw_reply_output
from modelward_native.request.model cimport MODE_FALLBACK, MODE_TAG, Constant, Model, Fallback
from modelward_native.backend.run cimport mw_run, mw_run_output
from modelward_native.request.protobuf cimport MW_HEADER_BYTES, mw_field_size, mw_put_bytes, mw_put_header
from modelward_native.request.tensor cimport MW_BYTES, MW_MAX_TENSORS, mw_span
from modelward_native.request.verdict cimport (
    REASON_ANOMALY, REASON_CANARY, REASON_CRASH, REASON_DEADLINE, REASON_INFEASIBLE, REASON_OUTPUT_BUDGET, REASON_OUTPUT_GUARD,
    REASON_QUEUE_FULL, REASON_RESTRICTED, REASON_SHED, Verdict, describe)

cdef enum:
    STREAM_ERROR = 1              # fields of ModelStreamInferResponse
    STREAM_ANSWER = 2
    ANSWER_ID = 3                 # of ModelInferResponse
    FRAME = 5                     # bytes of gRPC's prefix
    REPLY_BYTES = 0x7fffff00      # protobuf's messages end at 2 GiB


cdef const char *fallback_name(int reason) noexcept:
    """What modelward_fallback says."""
    if reason == REASON_DEADLINE:
        return "deadline"
    if reason == REASON_ANOMALY:
        return "anomaly"
    if reason in (REASON_QUEUE_FULL, REASON_SHED, REASON_INFEASIBLE):
        return "overload"
    if reason == REASON_CRASH:
        return "crash"
    if reason == REASON_CANARY:
        return "canary"
    if reason == REASON_RESTRICTED:
        return "restricted"
    if reason == REASON_OUTPUT_GUARD:
        return "output_guard"
    if reason == REASON_OUTPUT_BUDGET:
        return "output_budget"
    return "failure"


cdef bint is_told(const Exchange *x) noexcept:
    """That a fallback answers: not to a restricted caller who is not to know."""
    return x.fallback_reason != REASON_RESTRICTED or x.policy == NULL or x.policy.labelled


cdef const char *restriction_told(const Exchange *x) noexcept:
    if x.policy == NULL or not x.policy.labelled:
        return NULL
    if x.step == MW_STEP_ROUND:
        return "round"
    if x.step == MW_STEP_TOP_CLASS:
        return "top_class"
    if x.step == MW_STEP_DELAY:
        return "delay"
    if x.step == MW_STEP_FALLBACK:
        return "fallback"
    return NULL


cdef mw_span span_of(const char *text) noexcept:
    cdef mw_span s
    s.data = <const uint8_t *>text
    s.size = strlen(text) if text != NULL else 0
    return s


cdef void begin(mw_reply *reply, const mw_reply_output *outputs, Exchange *x, const Fallback *fallback) noexcept:
    """All but the outputs themselves: their number, and where they will be."""
    cdef Model *asked = x.asked
    cdef bint tell = x.flagged and (asked.mode == MODE_TAG or asked.mode == MODE_FALLBACK)
    memset(reply, 0, sizeof(reply[0]))
    reply.model_name = asked.name
    reply.model_version = asked.version
    reply.id = x.id
    reply.output = outputs
    reply.final_response = x.streaming    # as Triton says of every model whose requests have one answer each
    if fallback != NULL and is_told(x):
        reply.fallback = span_of(fallback_name(x.fallback_reason))
        reply.fallback_source = span_of(fallback.source)
    reply.restricted = span_of(restriction_told(x))
    if tell:
        reply.has_anomaly = 1
        reply.anomaly = 1
        reply.has_anomaly_score = 1
        reply.anomaly_score = x.score
    reply.outputs = x.wanteds if x.wanted != NULL else asked.output_count


cdef bint write(const mw_reply *reply, uint8_t **where, Exchange *x, Buffer *out) noexcept:
    """where: receives the place of each output's bytes."""
    cdef size_t size = mw_oip_reply_size(reply)
    cdef uint8_t head[MW_HEADER_BYTES]
    cdef size_t extra = mw_put_header(head, STREAM_ANSWER, size) - head if x.streaming else 0
    pay_for(out, x.body.holder)
    if size > REPLY_BYTES or grow_beside(x.wire, out, FRAME + extra + size) < 0:
        return False
    write_prefix(out.data, False, <uint32_t>(extra + size))
    memcpy(out.data + FRAME, head, extra)
    mw_oip_reply_write(reply, out.data + FRAME + extra, where)
    out.size = FRAME + extra + size
    return True


cdef bint reply_from_run(
        Exchange *x, const mw_run *run, int64_t first_row, int64_t run_rows, const Fallback *fallback, Buffer *out) noexcept:
    cdef Model *asked = x.asked
    cdef mw_reply reply
    cdef mw_reply_output outputs[<int>MW_MAX_TENSORS]    # 14 KB of stack, of which only what is used is touched
    cdef uint8_t *where[<int>MW_MAX_TENSORS]
    cdef uint32_t i, o
    cdef const mw_run_output *made
    cdef mw_reply_output *r
    cdef size_t per_row, k, first
    cdef uint8_t *to
    cdef uint32_t length
    # a run of several requests has its rows first in every output (backend/results has checked that)
    cdef bint part = run_rows != x.rows
    begin(&reply, outputs, x, fallback)
    for i in range(reply.outputs):
        o = x.wanted[i] if x.wanted != NULL else i
        made = &run.out[fallback.outputs[o] if fallback != NULL else o]
        r = &outputs[i]
        r.name = asked.outputs[o].name
        r.dtype = asked.outputs[o].dtype
        r.rank = made.rank
        r.shape = made.shape
        r.rows = x.rows if part else -1
        r.raw.data = NULL
        if r.dtype == MW_BYTES:
            per_row = made.elements // run_rows if part else made.elements
            first = first_row * per_row if part else 0
            k = per_row * x.rows if part else made.elements
            r.raw.size = made.offset[first + k] - made.offset[first] + 4 * k
        else:
            per_row = made.size // run_rows if part else made.size
            r.raw.size = per_row * x.rows if part else made.size
            r.raw.data = made.data + (first_row * per_row if part else 0)
            if r.raw.size == 0:
                r.raw.data = NULL
    if not write(&reply, where, x, out):
        return False
    for i in range(reply.outputs):
        if outputs[i].dtype != MW_BYTES:
            continue
        o = x.wanted[i] if x.wanted != NULL else i
        made = &run.out[fallback.outputs[o] if fallback != NULL else o]
        per_row = made.elements // run_rows if part else made.elements
        first = first_row * per_row if part else 0
        to = where[i]
        for k in range(first, first + (per_row * x.rows if part else made.elements)):
            length = <uint32_t>(made.offset[k + 1] - made.offset[k])
            memcpy(to, &length, 4)
            memcpy(to + 4, made.text + made.offset[k], length)
            to += 4 + length
    return True


cdef bint reply_from_constants(Exchange *x, const Fallback *fallback, Buffer *out) noexcept:
    cdef Model *asked = x.asked
    cdef mw_reply reply
    cdef mw_reply_output outputs[<int>MW_MAX_TENSORS]
    cdef uint8_t *where[<int>MW_MAX_TENSORS]
    cdef uint32_t i, o
    cdef int64_t k
    cdef const Constant *constant
    cdef mw_reply_output *r
    begin(&reply, outputs, x, fallback)
    for i in range(reply.outputs):
        o = x.wanted[i] if x.wanted != NULL else i
        constant = &fallback.constants[o]
        r = &outputs[i]
        r.name = asked.outputs[o].name
        r.dtype = asked.outputs[o].dtype
        r.rank = constant.rank
        r.shape = constant.shape
        r.rows = -1
        r.raw = constant.raw
        if constant.repeats and x.rows != 1:
            if constant.raw.size and <size_t>x.rows > REPLY_BYTES // constant.raw.size:
                return False
            r.rows = x.rows
            r.raw.data = NULL
            r.raw.size = constant.raw.size * x.rows
    if not write(&reply, where, x, out):
        return False
    for i in range(reply.outputs):
        o = x.wanted[i] if x.wanted != NULL else i
        constant = &fallback.constants[o]
        if constant.repeats and x.rows != 1 and constant.raw.size:
            for k in range(x.rows):
                memcpy(where[i] + k * constant.raw.size, constant.raw.data, constant.raw.size)
    return True


cdef bint reply_from_upstream(Exchange *x, const Fallback *fallback, Buffer *framed) noexcept:
    cdef mw_reply more
    cdef uint8_t head[MW_HEADER_BYTES]
    cdef uint8_t *at
    cdef size_t old = framed.size - FRAME, size, prefix = 0, added
    cdef bint nameless
    begin(&more, NULL, x, fallback)
    more.outputs = 0
    more.model_version.size = 0   # the upstream's own stays
    if fallback == NULL:
        more.model_name.size = 0
    # an answer that was another request's once carries this one's id, and where it has none an empty one
    if fallback == NULL or fallback.last_good == NULL:
        more.id.size = 0
    nameless = fallback != NULL and fallback.last_good != NULL and x.id.size == 0
    added = mw_oip_reply_size(&more) + (2 if nameless else 0)
    if added == 0:
        return True
    size = old + added
    if x.streaming:
        prefix = mw_put_header(head, STREAM_ANSWER, size) - head
    if size > REPLY_BYTES or grow_beside(x.wire, framed, FRAME + prefix + size) < 0:
        return False
    memmove(framed.data + FRAME + prefix, framed.data + FRAME, old)
    memcpy(framed.data + FRAME, head, prefix)
    at = framed.data + FRAME + prefix + old
    at += mw_oip_reply_write(&more, at, NULL)
    if nameless:
        mw_put_bytes(at, ANSWER_ID, NULL, 0)
    framed.size = FRAME + prefix + size
    write_prefix(framed.data, False, <uint32_t>(prefix + size))
    return True


cdef bint reply_stream_error(Exchange *x, Verdict *verdict, Buffer *out) noexcept:
    """ModelStreamInferResponse{error_message, infer_response{id}}: a wrong request does not end the stream."""
    cdef size_t text
    cdef uint8_t *at
    describe(verdict)
    text = strlen(verdict.text)
    if buffer_reserve(out, FRAME + text + x.id.size + 3 * MW_HEADER_BYTES) < 0:
        return False
    out.holder = x.body.holder
    count_bytes(x.wire, out.holder, <int64_t>out.capacity)
    at = mw_put_bytes(out.data + FRAME, STREAM_ERROR, verdict.text, text)
    if x.id.size:
        at = mw_put_header(at, STREAM_ANSWER, mw_field_size(x.id.size))
        at = mw_put_bytes(at, ANSWER_ID, x.id.data, x.id.size)
    out.size = at - out.data
    write_prefix(out.data, False, <uint32_t>(out.size - FRAME))
    return True
