"""Outputs that are made though the client has not asked for them: guards and evidence look at them, and it does not get them."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memmove

from modelward_native.outputs.class_scores cimport MW_FIND_OUTPUTS
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.protobuf cimport MW_HEADER_BYTES, mw_field_size, mw_put_header
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.validate cimport find_tensor
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


cdef uint32_t list_hidden(const Exchange *x, const Model *m, uint8_t *hidden) noexcept:
    cdef uint32_t i, output, count = 0
    cdef int scores
    if m.guarded != NULL:
        for i in range(m.guarded.count):
            output = m.guarded.output[i]
            if not is_among(output, x.wanted, x.wanteds):
                hidden[count] = <uint8_t>output
                count += 1
    if m.has_scores and x.policy != NULL:
        scores = find_tensor(m.outputs, m.output_count, 0, m.scores.output.name)
        if scores >= 0 and not is_among(scores, x.wanted, x.wanteds) and not is_among(scores, hidden, count):
            hidden[count] = <uint8_t>scores
            count += 1
    return count


cdef bint hide_outputs(Exchange *x, const Model *m) noexcept:
    cdef uint8_t hidden[<int>HIDDEN]
    cdef uint32_t count = list_hidden(x, m, hidden)
    cdef uint8_t *grown
    if count == 0:
        return True
    grown = <uint8_t *>realloc(x.wanted, x.wanteds + count)
    if grown == NULL:
        return False
    x.wanted = grown
    memcpy(grown + x.wanteds, hidden, count)
    x.wanteds += count
    return True


# ---- what an upstream is asked for -------------------------------------------------------------------------------

cdef uint32_t more_count(const Exchange *client) noexcept:
    cdef const Model *m = client.asked
    if client.wanted != NULL:
        return client.wanteds - client.shown
    return m.output_count if m.guarded != NULL or (m.has_scores and client.policy != NULL) else 0


cdef const mw_span *more_output(const Exchange *client, const Model *to, uint32_t i) noexcept:
    cdef uint32_t output = i if client.wanted == NULL else client.wanted[client.shown + i]
    cdef const mw_span *name = &client.asked.outputs[output].name
    if to == client.asked or find_tensor(to.outputs, to.output_count, output, name[0]) >= 0:
        return name
    if to.undecoded and to == client.model:    # it stands in, and what it has is not known: it must give all of them
        return name
    return NULL


cdef size_t write_ask(const mw_span *name, uint8_t *head) noexcept:
    return mw_put_header(mw_put_header(head, OUTPUTS, mw_field_size(name.size)), NAME, name.size) - head


cdef uint32_t size_of_ask(const Exchange *client, const Model *to) noexcept:
    cdef const mw_span *name
    cdef uint32_t i
    cdef size_t size = 0
    for i in range(more_count(client)):
        name = more_output(client, to, i)
        if name != NULL:
            size += mw_field_size(mw_field_size(name.size))
    return <uint32_t>size


# ---- what the client gets ----------------------------------------------------------------------------------------

cdef size_t drop_from(const Exchange *x, uint8_t *message, size_t size) noexcept:
    cdef mw_span names[<int>HIDDEN]
    cdef uint32_t i
    cdef size_t left
    if x.shown == x.wanteds:
        return size
    for i in range(x.shown, x.wanteds):
        names[i - x.shown] = x.asked.outputs[x.wanted[i]].name
    left = mw_drop_outputs(message, size, names, x.wanteds - x.shown)
    return 0 if left == MW_NOT_DROPPED else left


cdef bint drop_hidden(const Exchange *x, Buffer *framed) noexcept:
    cdef mw_span message = message_of(x, framed)
    cdef uint8_t header[MW_HEADER_BYTES]
    cdef size_t size = drop_from(x, <uint8_t *>message.data, message.size), head = 0
    if size == 0:
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
