"""Answers: ModelInferResponse and ModelStreamInferResponse, framed, in one allocation each."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memmove, memset, strlen

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.holding cimport count_bytes, pay_for
from modelward_native.wire.grpc cimport buffer_reserve, write_prefix
from modelward_native.request.message cimport (
    mw_oip_reply_size, mw_oip_reply_write, mw_oip_stream_reply_prefix, mw_reply, mw_reply_output)
from modelward_native.request.model cimport MODE_FALLBACK, MODE_TAG, Constant, Model, Rung
from modelward_native.backend.run cimport mw_run, mw_run_output
from modelward_native.wire.stream cimport grow_beside
from modelward_native.request.tensor cimport MW_BYTES, MW_MAX_TENSORS, mw_span
from modelward_native.request.verdict cimport (
    REASON_ANOMALY, REASON_CANARY, REASON_CRASH, REASON_DEADLINE, REASON_INFEASIBLE, REASON_QUEUE_FULL, REASON_SHED, Verdict,
    describe)

cdef enum:
    STREAM_PREFIX = 11            # bytes before an infer_response in a ModelStreamInferResponse, at most
    FRAME = 5
    PARAMETERS = 1024             # what the guards may append to an upstream's answer
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
    return "failure"


cdef mw_span span_of(const char *text) noexcept:
    cdef mw_span s
    s.data = <const uint8_t *>text
    s.size = strlen(text) if text != NULL else 0
    return s


cdef void begin(mw_reply *reply, const mw_reply_output *outputs, Exchange *x, const Rung *rung) noexcept:
    """All but the outputs themselves: their number, and where they will be."""
    cdef Model *asked = x.asked
    cdef bint tell = x.flagged and (asked.mode == MODE_TAG or asked.mode == MODE_FALLBACK)
    memset(reply, 0, sizeof(reply[0]))
    reply.model_name = asked.name
    reply.model_version = asked.version
    reply.id = x.id
    reply.output = outputs
    reply.final_response = x.streaming    # as Triton says of every model whose requests have one answer each
    if rung != NULL:
        reply.fallback = span_of(fallback_name(x.fallback_reason))
        reply.fallback_source = span_of(rung.source)
    if tell:
        reply.has_anomaly = 1
        reply.anomaly = 1
        reply.has_anomaly_score = 1
        reply.anomaly_score = x.score
    reply.outputs = x.wanteds if x.wanted != NULL else asked.output_count


cdef bint write(const mw_reply *reply, uint8_t **where, Exchange *x, Buffer *out) noexcept:
    """where: receives the place of each output's bytes."""
    cdef size_t size = mw_oip_reply_size(reply)
    cdef uint8_t head[STREAM_PREFIX]
    cdef size_t extra = mw_oip_stream_reply_prefix(size, head) if x.streaming else 0
    pay_for(out, x.body.holder)
    if size > REPLY_BYTES or grow_beside(x.wire, out, FRAME + extra + size) < 0:
        return False
    write_prefix(out.data, False, <uint32_t>(extra + size))
    memcpy(out.data + FRAME, head, extra)
    mw_oip_reply_write(reply, out.data + FRAME + extra, where)
    out.size = FRAME + extra + size
    return True


cdef bint reply_from_run(
        Exchange *x, const mw_run *run, int64_t first_row, int64_t run_rows, const Rung *rung, Buffer *out) noexcept:
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
    # a run of several requests has its rows first in every output (batch.pyx has checked that)
    cdef bint part = run_rows != x.rows
    begin(&reply, outputs, x, rung)
    for i in range(reply.outputs):
        o = x.wanted[i] if x.wanted != NULL else i
        made = &run.out[rung.outputs[o] if rung != NULL else o]
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
        made = &run.out[rung.outputs[o] if rung != NULL else o]
        per_row = made.elements // run_rows if part else made.elements
        first = first_row * per_row if part else 0
        to = where[i]
        for k in range(first, first + (per_row * x.rows if part else made.elements)):
            length = <uint32_t>(made.offset[k + 1] - made.offset[k])
            memcpy(to, &length, 4)
            memcpy(to + 4, made.text + made.offset[k], length)
            to += 4 + length
    return True


cdef bint reply_from_constants(Exchange *x, const Rung *rung, Buffer *out) noexcept:
    cdef Model *asked = x.asked
    cdef mw_reply reply
    cdef mw_reply_output outputs[<int>MW_MAX_TENSORS]
    cdef uint8_t *where[<int>MW_MAX_TENSORS]
    cdef uint32_t i, o
    cdef int64_t k
    cdef const Constant *constant
    cdef mw_reply_output *r
    begin(&reply, outputs, x, rung)
    for i in range(reply.outputs):
        o = x.wanted[i] if x.wanted != NULL else i
        constant = &rung.constants[o]
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
        constant = &rung.constants[o]
        if constant.repeats and x.rows != 1 and constant.raw.size:
            for k in range(x.rows):
                memcpy(where[i] + k * constant.raw.size, constant.raw.data, constant.raw.size)
    return True


cdef size_t put_varint(uint8_t *to, size_t value) noexcept:
    cdef size_t n = 0
    while value > 127:
        to[n] = (value & 127) | 128
        value >>= 7
        n += 1
    to[n] = <uint8_t>value
    return n + 1


cdef size_t put_length(uint8_t *to, int field, size_t size) noexcept:
    to[0] = (field << 3) | 2
    return 1 + put_varint(to + 1, size)


cdef size_t put_text_parameter(uint8_t *to, const char *name, const char *value) noexcept:
    cdef size_t key = strlen(name), text = strlen(value), n
    to[0] = 0x22                  # ModelInferResponse.parameters
    n = 1 + put_varint(to + 1, 6 + key + text)
    to[n] = 0x0A
    to[n + 1] = <uint8_t>key
    memcpy(to + n + 2, name, key)
    n += 2 + key
    to[n] = 0x12
    to[n + 1] = <uint8_t>(text + 2)
    to[n + 2] = 0x1A              # InferParameter.string_param
    to[n + 3] = <uint8_t>text
    memcpy(to + n + 4, value, text)
    return n + 4 + text


cdef size_t put_anomaly(uint8_t *to, double score) noexcept:
    """modelward_anomaly: true, modelward_anomaly_score: score."""
    memcpy(to, b"\x22\x17\x0a\x11modelward_anomaly\x12\x02\x08\x01", 25)
    memcpy(to + 25, b"\x22\x24\x0a\x17modelward_anomaly_score\x12\x09\x21", 30)
    memcpy(to + 55, &score, 8)
    return 63


cdef size_t put_final_response(uint8_t *to) noexcept:
    """triton_final_response: true."""
    memcpy(to, b"\x22\x1b\x0a\x15triton_final_response\x12\x02\x08\x01", 29)
    return 29


cdef bint reply_from_upstream(Exchange *x, const Rung *rung, Buffer *framed) noexcept:
    cdef Model *asked = x.asked
    cdef bint tell = x.flagged and (asked.mode == MODE_TAG or asked.mode == MODE_FALLBACK)
    cdef uint8_t extra[PARAMETERS]
    cdef uint8_t head[STREAM_PREFIX]
    cdef size_t n = 0, size, prefix = 0
    if rung != NULL and asked.name.size <= 128:
        n += put_length(extra, 1, asked.name.size)
        memcpy(extra + n, asked.name.data, asked.name.size)
        n += asked.name.size
        n += put_text_parameter(extra + n, "modelward_fallback", fallback_name(x.fallback_reason))
        if strlen(rung.source) <= 200:
            n += put_text_parameter(extra + n, "modelward_fallback_source", rung.source)
    if rung != NULL and rung.recall != NULL:
        # the answer was somebody else's once: it carries this request's id
        if x.id.size > 256:
            return False
        n += put_length(extra + n, 3, x.id.size)
        if x.id.size:             # an empty span may point nowhere
            memcpy(extra + n, x.id.data, x.id.size)
            n += x.id.size
    if tell:
        n += put_anomaly(extra + n, x.score)
    if x.streaming:
        n += put_final_response(extra + n)
    if n == 0:
        return True
    size = framed.size - FRAME + n
    if x.streaming:
        prefix = mw_oip_stream_reply_prefix(size, head)
    if grow_beside(x.wire, framed, FRAME + prefix + size) < 0:
        return False
    memmove(framed.data + FRAME + prefix, framed.data + FRAME, size - n)
    memcpy(framed.data + FRAME, head, prefix)
    memcpy(framed.data + FRAME + prefix + size - n, extra, n)
    framed.size = FRAME + prefix + size
    write_prefix(framed.data, False, <uint32_t>(prefix + size))
    return True


cdef bint reply_stream_error(Exchange *x, Verdict *verdict, Buffer *out) noexcept:
    """ModelStreamInferResponse{error_message, infer_response{id}}: a wrong request does not end the stream."""
    cdef size_t text, n = FRAME
    cdef uint8_t inner[12]
    cdef size_t head = put_length(inner, 3, x.id.size)
    describe(verdict)
    text = strlen(verdict.text)
    if buffer_reserve(out, FRAME + text + x.id.size + 40) < 0:
        return False
    out.holder = x.body.holder
    count_bytes(x.wire, out.holder, <int64_t>out.capacity)
    n += put_length(out.data + n, 1, text)
    memcpy(out.data + n, verdict.text, text)
    n += text
    if x.id.size:
        n += put_length(out.data + n, 2, head + x.id.size)
        memcpy(out.data + n, inner, head)
        n += head
        memcpy(out.data + n, x.id.data, x.id.size)
        n += x.id.size
    write_prefix(out.data, False, <uint32_t>(n - FRAME))
    out.size = n
    return True
