# The answer of a request: from a run's outputs, a fallback's constants or a verdict to a framed message.
from libc.stdint cimport int64_t, uint8_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.buffer cimport Buffer
from modelward_native.request.model cimport Fallback
from modelward_native.backend.run cimport mw_run
from modelward_native.request.verdict cimport Verdict

# Each returns False for want of memory. fallback: the fallback that answers, NULL for the model that was asked.
cdef bint reply_from_run(
    Exchange *x, const mw_run *run, int64_t first_row, int64_t run_rows, const Fallback *fallback, Buffer *out) noexcept
cdef bint reply_from_constants(Exchange *x, const Fallback *fallback, Buffer *out) noexcept
# An upstream's framed answer, with what the guards have to say appended: repeated fields merge, the last scalar wins.
cdef bint reply_from_upstream(Exchange *x, const Fallback *fallback, Buffer *framed) noexcept
cdef bint reply_stream_error(Exchange *x, Verdict *verdict, Buffer *out) noexcept
cdef const char *fallback_name(int reason) noexcept
# Whether its client is told that a fallback answers; and the step that it is told of, NULL for none.
cdef bint is_told(const Exchange *x) noexcept
cdef const char *restriction_told(const Exchange *x) noexcept
