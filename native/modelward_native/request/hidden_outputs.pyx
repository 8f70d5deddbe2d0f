"""Outputs that are made though the client has not asked for them: guards and evidence look at them, and it does not get them."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memcpy, memmove

from modelward_native.outputs.class_scores cimport MW_FIND_OUTPUTS
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.protobuf cimport MW_HEADER_BYTES, mw_field_size, mw_put_bytes, mw_put_header
from modelward_native.request.tensor cimport mw_span
from modelward_native.shadow.mirror cimport message_of
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.grpc cimport write_prefix

cdef extern from "drop_outputs.h" nogil:
    size_t MW_NOT_DROPPED
    size_t mw_drop_outputs(uint8_t *message, size_t size, const mw_span *names, uint32_t count)

cdef enum:
    HIDDEN = MW_FIND_OUTPUTS + 1  # outputs of guards, and the scores of classes
    FRAME = 5                     # bytes of gRPC's prefix
    STREAM_ANSWER = 2             # fields: of ModelStreamInferResponse
    OUTPUTS = 6                   # of ModelInferRequest
    NAME = 1                      # of an InferRequestedOutputTensor


cdef inline bint is_among(uint32_t output, const uint8_t *of, uint32_t count) noexcept:
    cdef uint32_t i
    for i in range(count):
        if of[i] == output:
            return True
    return False


cdef uint32_t scores_of(const Model *m) noexcept:
    """The output with the scores of classes."""
    cdef uint32_t i
    for i in range(m.output_count):
        if m.outputs[i].name.size == m.scores.output.name.size and memcmp(
                m.outputs[i].name.data, m.scores.output.name.data, m.outputs[i].name.size) == 0:
            break
    return i


cdef uint32_t list_hidden(const Exchange *x, const Model *m, uint8_t *hidden) noexcept:
    cdef uint32_t i, output, count = 0
    if m.guarded != NULL:
        for i in range(m.guarded.count):
            output = m.guarded.output[i]
            if not is_among(output, x.wanted, x.wanteds):
                hidden[count] = <uint8_t>output
                count += 1
    if m.has_scores and x.policy != NULL:
        output = scores_of(m)
        if output < m.output_count and not is_among(output, x.wanted, x.wanteds) and not is_among(output, hidden, count):
            hidden[count] = <uint8_t>output
            count += 1
    return count


cdef bint hide_outputs(Exchange *x, const Model *m) noexcept:
    cdef uint8_t hidden[<int>HIDDEN]
    cdef uint32_t i, count = list_hidden(x, m, hidden)
    cdef size_t asking = 0
    cdef uint8_t *grown
    cdef const mw_span *name
    if count == 0:
        return True
    for i in range(count):
        asking += mw_field_size(mw_field_size(m.outputs[hidden[i]].name.size))
    grown = <uint8_t *>realloc(x.wanted, x.wanteds + count + asking)
    if grown == NULL:
        return False
    x.wanted = grown
    memcpy(grown + x.wanteds, hidden, count)
    x.wanteds += count
    grown += x.wanteds
    for i in range(count):
        name = &m.outputs[hidden[i]].name
        grown = mw_put_header(grown, OUTPUTS, mw_field_size(name.size))
        grown = mw_put_bytes(grown, NAME, name.data, name.size)
    x.asking = <uint32_t>asking
    return True


cdef bint drop_hidden(const Exchange *x, Buffer *framed) noexcept:
    cdef mw_span names[<int>HIDDEN]
    cdef mw_span message = message_of(x, framed)
    cdef uint8_t header[MW_HEADER_BYTES]
    cdef uint32_t i
    cdef size_t size, head = 0
    for i in range(x.shown, x.wanteds):
        names[i - x.shown] = x.asked.outputs[x.wanted[i]].name
    size = mw_drop_outputs(<uint8_t *>message.data, message.size, names, x.wanteds - x.shown)
    if size == MW_NOT_DROPPED:
        return False
    if size == message.size:
        return True
    if x.streaming:               # the message lies in that of a stream, whose length is written again
        head = mw_put_header(header, STREAM_ANSWER, size) - header
        memmove(framed.data + FRAME + head, message.data, size)
        memcpy(framed.data + FRAME, header, head)
    framed.size = FRAME + head + size
    write_prefix(framed.data, False, <uint32_t>(head + size))
    return True
