# Outputs that are made though the client has not asked for them: guards and evidence look at them, and it does not get them.
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.wire.buffer cimport Buffer

# Adds to the outputs asked for what guards read, and for a watched caller the scores of classes. False: out of memory.
cdef bint hide_outputs(Exchange *x, const Model *m) noexcept
# Takes them out of the framed answer. False: it cannot be read.
cdef bint drop_hidden(const Exchange *x, Buffer *framed) noexcept
