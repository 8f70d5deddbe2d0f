"""Message compression (gRPC's compression.md): gzip and deflate, which is zlib's format (RFC 1950), inflated under a cap."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset


from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.grpc cimport buffer_free, buffer_reserve, write_prefix

cdef extern from "zlib.h" nogil:
    enum:
        Z_OK
        Z_STREAM_END
        Z_MEM_ERROR
        Z_BUF_ERROR
        Z_NO_FLUSH
        Z_FINISH
        Z_DEFLATED
        Z_DEFAULT_STRATEGY
    int inflateInit2(z_stream *, int)
    int inflate(z_stream *, int)
    int inflateEnd(z_stream *)
    int deflateInit2(z_stream *, int, int, int, int, int)
    int deflate(z_stream *, int)
    int deflateEnd(z_stream *)

cdef enum:
    GZIP_ONLY = 16 + 15           # windowBits: a gzip wrapper, no zlib one
    ZLIB_ONLY = 15
    GZIP_LEAST = 18               # bytes of header and trailer
    FIRST_BYTES = 1024


cdef int inflation_begin(Inflation *i, const uint8_t *message, size_t size, int encoding, size_t limit) noexcept nogil:
    """The trailer of gzip says how long the contents are (RFC 1952, ISIZE): a bomb that is honest about it is refused before
    it costs anything, one that is not where its contents get longer than it said."""
    cdef uint32_t said            # little-endian, as every machine that this is compiled for
    memset(i, 0, sizeof(Inflation))
    i.allowed = max(size * RATIO, <size_t>RATIO_FREE)
    i.beyond = INFLATED_OVER_RATIO
    if limit <= i.allowed:
        i.allowed = limit
        i.beyond = INFLATED_TOO_LARGE
    if encoding == ENCODING_GZIP:
        if size < GZIP_LEAST or message[0] != 0x1f or message[1] != 0x8b:
            return INFLATED_MALFORMED
        memcpy(&said, message + size - sizeof(said), sizeof(said))
        if said > i.allowed:
            return INFLATED_TOO_LARGE if said > limit else INFLATED_OVER_RATIO
        i.allowed = said
        i.exact = True
    if inflateInit2(&i.z, ZLIB_ONLY if encoding == ENCODING_DEFLATE else GZIP_ONLY) != Z_OK:
        return INFLATED_NO_MEMORY
    i.begun = True
    i.input = message
    i.left = size
    return INFLATED_PART


cdef int inflation_step(Inflation *i, size_t out_size, size_t most) noexcept nogil:
    cdef size_t given = min(i.left, most), room = min(out_size, i.out.capacity)
    cdef int state
    room = room - i.out.size if room > i.out.size else 0
    i.z.next_in = i.input
    i.z.avail_in = <unsigned int>given
    i.z.next_out = i.out.data + i.out.size
    i.z.avail_out = <unsigned int>room
    state = inflate(&i.z, Z_NO_FLUSH)
    i.input += given - i.z.avail_in
    i.left -= given - i.z.avail_in
    i.out.size += room - i.z.avail_out
    if state == Z_MEM_ERROR:
        return INFLATED_NO_MEMORY
    if state != Z_OK and state != Z_STREAM_END and state != Z_BUF_ERROR:
        return INFLATED_MALFORMED
    if i.out.size > i.allowed:
        return INFLATED_MALFORMED if i.exact else i.beyond
    if state == Z_STREAM_END:
        return INFLATED_WHOLE if i.left == 0 else INFLATED_MALFORMED
    # the stream wants more than the message holds
    return INFLATED_MALFORMED if i.left == 0 and i.z.avail_out > 0 else INFLATED_PART


cdef size_t inflation_room(const Inflation *i, size_t size) noexcept nogil:
    return min(size, i.allowed + 1)


cdef void inflation_end(Inflation *i) noexcept nogil:
    if i.begun:
        inflateEnd(&i.z)
    i.begun = False


cdef int inflate_message(Buffer *message, int encoding, size_t limit) noexcept nogil:
    cdef Inflation i
    cdef int state = inflation_begin(&i, message.data, message.size, encoding, limit)
    while state == INFLATED_PART:
        if i.out.size == i.out.capacity and buffer_reserve(&i.out, inflation_room(
                &i, max(4 * message.size, 2 * i.out.capacity, <size_t>FIRST_BYTES))) < 0:
            state = INFLATED_NO_MEMORY
            break
        state = inflation_step(&i, i.out.capacity, message.size)
    inflation_end(&i)
    if state == INFLATED_WHOLE:
        buffer_free(message)
        message[0] = i.out
    else:
        buffer_free(&i.out)
    return state


cdef int deflate_message(Buffer *framed) noexcept nogil:
    """Replaces a framed message by its gzip form where that is smaller. 1 compressed, 0 left as it was."""
    cdef z_stream z
    cdef Buffer out
    cdef size_t size = framed.size - 5
    memset(&z, 0, sizeof(z))
    memset(&out, 0, sizeof(out))
    if deflateInit2(&z, 1, Z_DEFLATED, GZIP_ONLY, 8, Z_DEFAULT_STRATEGY) != Z_OK:
        return 0
    # bounded by the message itself: what does not fit is not smaller
    if buffer_reserve(&out, framed.size) < 0:
        deflateEnd(&z)
        return 0
    z.next_in = framed.data + 5
    z.avail_in = <unsigned int>size
    z.next_out = out.data + 5
    z.avail_out = <unsigned int>size
    if deflate(&z, Z_FINISH) != Z_STREAM_END:
        deflateEnd(&z)
        buffer_free(&out)
        return 0
    out.size = 5 + z.total_out
    deflateEnd(&z)
    write_prefix(out.data, True, <uint32_t>(out.size - 5))
    buffer_free(framed)
    framed[0] = out
    return 1


def inflated(bytes message not None, bint gzip, size_t limit, list steps not None):
    """For tests: a message inflated in steps of (bytes out, bytes in) and then to its end, as by wire.inflater, or without
    steps at once; its contents, or an enum Inflated."""
    cdef Inflation i
    cdef Buffer whole
    cdef size_t out = 0, most = 0
    cdef int encoding = ENCODING_GZIP if gzip else ENCODING_DEFLATE
    cdef int state
    memset(&whole, 0, sizeof(whole))
    if buffer_reserve(&whole, max(len(message), 1)) < 0:
        raise MemoryError
    memcpy(whole.data, <const char *>message, len(message))
    whole.size = len(message)
    if not steps:
        state = inflate_message(&whole, encoding, limit)
    else:
        state = inflation_begin(&i, whole.data, whole.size, encoding, limit)
        for out, most in steps:
            if state == INFLATED_PART:
                if buffer_reserve(&i.out, inflation_room(&i, out)) < 0:
                    state = INFLATED_NO_MEMORY
                else:
                    state = inflation_step(&i, out, most)
        if state == INFLATED_PART and buffer_reserve(&i.out, i.allowed + 1) < 0:
            state = INFLATED_NO_MEMORY
        while state == INFLATED_PART:
            state = inflation_step(&i, i.out.size + out, most)
        inflation_end(&i)
        buffer_free(&whole)
        whole = i.out
    contents = (<const char *>whole.data)[:whole.size] if state == INFLATED_WHOLE else state
    buffer_free(&whole)
    return contents
