# Messages inflated step by step, each step bounded, and answers compressed. Nothing here takes memory but zlib.
from libc.stdint cimport uint8_t

from modelward_native.wire.buffer cimport Buffer

cdef extern from "zlib.h" nogil:
    ctypedef struct z_stream:
        const uint8_t *next_in
        unsigned int avail_in
        uint8_t *next_out
        unsigned int avail_out
        unsigned long total_out

cdef enum Encoding:
    ENCODING_IDENTITY = 0
    ENCODING_GZIP
    ENCODING_DEFLATE
    ENCODING_UNSUPPORTED

cdef enum Inflated:               # what has become of a message so far
    INFLATED_PART = 0             # there is more
    INFLATED_WHOLE
    INFLATED_MALFORMED
    INFLATED_TOO_LARGE            # over the limit
    INFLATED_OVER_RATIO           # over both RATIO times its size and RATIO_FREE
    INFLATED_NO_MEMORY

cdef enum:
    RATIO = 100                   # a message may not inflate to more than this times its size,
    RATIO_FREE = 1048576          # unless that is no more than this: 1 to 8 ms, and what any client may send as it is

cdef struct Inflation:
    z_stream z
    bint begun                    # zlib holds memory, about 40 KiB
    bint exact                    # gzip: the message says its length, which is `allowed`
    const uint8_t *input          # borrowed: what is left of the message
    size_t left
    size_t allowed                # bytes that it may become
    Inflated beyond               # what one that becomes more is
    Buffer out                    # owned; of at most allowed + 1 bytes: one more tells "full" from "too much"

# Refuses what says that it is too large before a byte is inflated. Ended by inflation_end, however it goes.
cdef int inflation_begin(Inflation *i, const uint8_t *message, size_t size, int encoding, size_t limit) noexcept nogil
# Goes on until out holds out_size bytes (or has no more room), or `most` bytes of the message are read.
cdef int inflation_step(Inflation *i, size_t out_size, size_t most) noexcept nogil
# Room that the next step may fill: `size` bytes, as far as the message may grow by that many.
cdef size_t inflation_room(const Inflation *i, size_t size) noexcept nogil
cdef void inflation_end(Inflation *i) noexcept nogil          # gives zlib's memory back; out stays
# A whole message at once, replaced by its contents: for what is small.
cdef int inflate_message(Buffer *message, int encoding, size_t limit) noexcept nogil

cdef int deflate_message(Buffer *framed) noexcept nogil
