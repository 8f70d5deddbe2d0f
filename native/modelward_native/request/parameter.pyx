"""A response parameter of an answer that is written already: appended, since repeated fields merge."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memmove, strlen

from modelward_native.outputs.guard_names cimport GUARD_TEXT, guard_names
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.protobuf cimport MW_HEADER_BYTES, mw_field_size, mw_put_bytes, mw_put_header
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.grpc cimport write_prefix
from modelward_native.wire.holding cimport grow_beside

cdef enum:
    FRAME = 5                     # bytes of gRPC's prefix
    STREAM_ANSWER = 2             # fields: of ModelStreamInferResponse
    PARAMETERS = 4                # of ModelInferResponse
    KEY = 1                       # of an entry
    VALUE = 2
    TEXT = 3                      # of InferParameter
    MOST = 0x7fffff00             # protobuf's messages end at 2 GiB


cdef size_t varint(const uint8_t *at) noexcept:
    """Bytes of the one there, which we have written."""
    cdef size_t n = 1
    while at[n - 1] & 0x80:
        n += 1
    return n


cdef bint add_guards(Exchange *x, Buffer *framed, uint32_t guards) noexcept:
    cdef const char *key = "modelward_output_guard"
    cdef char text[<int>GUARD_TEXT]
    cdef size_t value = guard_names(guards, text), parameter = mw_field_size(value), at = FRAME, size, more, head = 0
    cdef size_t entry = mw_field_size(strlen(key)) + mw_field_size(parameter)
    cdef uint8_t header[MW_HEADER_BYTES]
    cdef uint8_t *to
    more = mw_field_size(entry)
    if x.streaming:               # the message lies in that of a stream, whose length is written anew
        at += 1 + varint(framed.data + FRAME + 1)
    size = framed.size - at
    if x.streaming:
        head = mw_put_header(header, STREAM_ANSWER, size + more) - header
    if head + size + more > MOST or grow_beside(x.wire, framed, FRAME + head + size + more) < 0:
        return False
    memmove(framed.data + FRAME + head, framed.data + at, size)
    memcpy(framed.data + FRAME, header, head)
    to = mw_put_header(framed.data + FRAME + head + size, PARAMETERS, entry)
    to = mw_put_bytes(to, KEY, key, strlen(key))
    to = mw_put_header(to, VALUE, parameter)
    to = mw_put_bytes(to, TEXT, text, value)
    framed.size = to - framed.data
    write_prefix(framed.data, False, <uint32_t>(framed.size - FRAME))
    return True
