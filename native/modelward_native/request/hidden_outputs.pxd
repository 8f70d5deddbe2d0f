# Outputs that are made though the client has not asked for them: guards and evidence look at them, and it does not get them.
from libc.stdint cimport uint8_t, uint32_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.protobuf cimport MW_HEADER_BYTES
from modelward_native.request.tensor cimport mw_span
from modelward_native.wire.buffer cimport Buffer

cdef enum:
    ASK_HEAD = 2 * MW_HEADER_BYTES    # bytes before a name in the form in which a request asks for an output

# Adds to the outputs asked for what guards read, and for a watched caller the scores of classes. False: out of memory.
cdef bint hide_outputs(Exchange *x, const Model *m) noexcept
# What a message of the client asks an upstream for beside its own words: the hidden outputs, and all that are declared where it
# names none and guards or evidence look at them, since an upstream may give fewer then.
cdef uint32_t more_count(const Exchange *client) noexcept
# The name of one of them; NULL where the model that is asked has no such output.
cdef const mw_span *more_output(const Exchange *client, const Model *to, uint32_t i) noexcept
# What stands before it in the request, at most ASK_HEAD bytes. Returns how many.
cdef size_t write_ask(const mw_span *name, uint8_t *head) noexcept
cdef uint32_t size_of_ask(const Exchange *client, const Model *to) noexcept    # of all that the model has, in bytes
# Takes the hidden ones out of an answer to the client, a message or framed. Returns the bytes that are left; 0 and False: that
# cannot be done, or nothing else is in it.
cdef size_t drop_from(const Exchange *x, uint8_t *message, size_t size) noexcept
cdef bint drop_hidden(const Exchange *x, Buffer *framed) noexcept
