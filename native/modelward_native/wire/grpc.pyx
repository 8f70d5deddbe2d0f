"""gRPC over HTTP/2: timeouts, encodings, status and its details."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memset, strcmp, strdup, strlen, strncpy

from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.limits.limit cimport LIMIT_TEXT
from modelward_native.request.protobuf cimport MW_HEADER_BYTES, mw_field_size, mw_put_bytes, mw_put_header, mw_put_number
from modelward_native.request.verdict cimport REASON_NONE, VERDICT_TEXT, Verdict, code_of, describe, name_of

cdef enum:
    DETAILS = 3 * VERDICT_TEXT
    KEPT_ENDINGS = 509            # refusals by rate limits that are kept ready; a prime

cdef int64_t SECOND = 1000000000


# ---- memory ------------------------------------------------------------------------------------------------

cdef int buffer_reserve(Buffer *b, size_t capacity) noexcept nogil:
    """Room for capacity bytes in all; 0, or -1 for want of memory (the buffer is then as before)."""
    cdef uint8_t *data
    if capacity <= b.capacity:
        return 0
    data = <uint8_t *>realloc(b.data, capacity)
    if data == NULL:
        return -1
    b.data = data
    b.capacity = capacity
    return 0


cdef void buffer_free(Buffer *b) noexcept nogil:
    free(b.data)
    b.data = NULL
    b.size = 0
    b.capacity = 0


# ---- headers -----------------------------------------------------------------------------------------------

cdef int64_t parse_timeout(const uint8_t *text, size_t size) noexcept nogil:
    """A grpc-timeout value in ns, clamped to ten years; -1 if malformed (PROTOCOL-HTTP2.md: 1 to 8 digits, a unit)."""
    cdef int64_t value = 0, unit
    cdef size_t i
    if size < 2 or size > 9:
        return -1
    for i in range(size - 1):
        if text[i] < 48 or text[i] > 57:
            return -1
        value = value * 10 + (text[i] - 48)
    if text[size - 1] == 72:      # H
        unit = 3600 * SECOND
    elif text[size - 1] == 77:    # M
        unit = 60 * SECOND
    elif text[size - 1] == 83:    # S
        unit = SECOND
    elif text[size - 1] == 109:   # m
        unit = 1000000
    elif text[size - 1] == 117:   # u
        unit = 1000
    elif text[size - 1] == 110:   # n
        unit = 1
    else:
        return -1
    return min(value, 10 * 365 * 86400 * SECOND // unit) * unit


cdef bint wants_gzip(const uint8_t *text, size_t size, bint *accepts) noexcept nogil:
    """Reads grpc-accept-encoding. accepts: the list holds gzip. The result: it holds gzip and not deflate.

    grpc-core sends "identity, deflate, gzip" with every call, whether or not its user wants compression: that list
    says what the client can do. A list with gzip and without deflate was made by someone who asked for gzip.
    """
    cdef size_t start = 0, end
    cdef bint gzip = False, deflated = False
    while start < size:
        while start < size and (text[start] == 32 or text[start] == 44):
            start += 1
        end = start
        while end < size and text[end] != 44 and text[end] != 32:
            end += 1
        if end - start == 4 and memcmp(text + start, b"gzip", 4) == 0:
            gzip = True
        elif end - start == 7 and memcmp(text + start, b"deflate", 7) == 0:
            deflated = True
        start = end
    accepts[0] = gzip
    return gzip and not deflated


# ---- status ------------------------------------------------------------------------------------------------

cdef uint8_t *put_any(uint8_t *at, const char *url, const uint8_t *value, size_t size) noexcept nogil:
    """google.protobuf.Any{type_url, value} among a Status's details."""
    at = mw_put_header(at, 3, mw_field_size(strlen(url)) + mw_field_size(size))
    at = mw_put_bytes(at, 1, url, strlen(url))
    return mw_put_bytes(at, 2, value, size)


cdef const char *BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


cdef char *base64_of(const uint8_t *data, size_t size) noexcept nogil:
    """Unpadded base64, as gRPC's -bin headers want it. Owned by the caller; NULL for want of memory."""
    cdef char *text = <char *>malloc(size * 4 // 3 + 5)
    cdef size_t i = 0, n = 0
    cdef uint32_t word
    if text == NULL:
        return NULL
    while i + 2 < size:
        word = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2]
        text[n] = BASE64[word >> 18]
        text[n + 1] = BASE64[(word >> 12) & 63]
        text[n + 2] = BASE64[(word >> 6) & 63]
        text[n + 3] = BASE64[word & 63]
        n += 4
        i += 3
    if size - i == 1:
        text[n] = BASE64[data[i] >> 2]
        text[n + 1] = BASE64[(data[i] & 3) << 4]
        n += 2
    elif size - i == 2:
        text[n] = BASE64[data[i] >> 2]
        text[n + 1] = BASE64[((data[i] & 3) << 4) | (data[i + 1] >> 4)]
        text[n + 2] = BASE64[(data[i + 1] & 15) << 2]
        n += 3
    text[n] = 0
    return text


cdef char *percent_encoded(const char *text) noexcept nogil:
    """A grpc-message value: bytes outside 0x20-0x7E and '%' as %XX. Owned by the caller; NULL for want of memory."""
    cdef size_t size = strlen(text), i, n = 0
    cdef uint8_t c
    cdef char *out = <char *>malloc(3 * size + 1)
    cdef const char *hexadecimal = "0123456789ABCDEF"
    if out == NULL:
        return NULL
    for i in range(size):
        c = <uint8_t>text[i]
        if c < 0x20 or c > 0x7E or c == 37:
            out[n] = 37
            out[n + 1] = hexadecimal[c >> 4]
            out[n + 2] = hexadecimal[c & 15]
            n += 3
        else:
            out[n] = text[i]
            n += 1
    out[n] = 0
    return out


cdef char *details_of(int code, const char *text, const char *reason, int64_t retry_ns) noexcept nogil:
    """base64 of google.rpc.Status{code, message, [ErrorInfo{reason, domain}, RetryInfo{retry_delay}]}."""
    cdef uint8_t status[DETAILS]
    cdef uint8_t inner[128]
    cdef uint8_t duration[2 * MW_HEADER_BYTES]
    cdef uint8_t *at = mw_put_number(status, 1, code)
    cdef uint8_t *end
    at = mw_put_bytes(at, 2, text, strlen(text))
    end = mw_put_bytes(inner, 1, reason, strlen(reason))
    end = mw_put_bytes(end, 2, <const char *>"modelward", 9)
    at = put_any(at, "type.googleapis.com/google.rpc.ErrorInfo", inner, end - inner)
    if retry_ns > 0:
        end = mw_put_number(duration, 1, min(retry_ns // SECOND, <int64_t>0x7fffffff))
        end = mw_put_number(end, 2, retry_ns % SECOND)
        end = mw_put_bytes(inner, 1, duration, end - duration)
        at = put_any(at, "type.googleapis.com/google.rpc.RetryInfo", inner, end - inner)
    return base64_of(status, at - status)


cdef struct Kept:                 # a refusal by a rate limit, ready to be sent again
    int reason
    int64_t retry_ns
    char limit[LIMIT_TEXT]
    char *message                 # owned, like details: copied for each answer, which frees its own
    char *details

cdef Kept KEPT[<int>KEPT_ENDINGS]


cdef bint find_kept(Ending *ending, const Verdict *verdict) noexcept:
    cdef Kept *kept = &KEPT[(verdict.reason + verdict.retry_ns // 1000000 * 5) % KEPT_ENDINGS]
    if kept.reason != verdict.reason or kept.retry_ns != verdict.retry_ns or strcmp(kept.limit, verdict.limit) != 0:
        return False
    ending.message = strdup(kept.message)
    ending.details = strdup(kept.details)
    return True


cdef void keep(const Ending *ending, const Verdict *verdict) noexcept:
    cdef Kept *kept = &KEPT[(verdict.reason + verdict.retry_ns // 1000000 * 5) % KEPT_ENDINGS]
    free(kept.message)
    free(kept.details)
    kept.reason = REASON_NONE
    kept.message = strdup(ending.message) if ending.message != NULL else NULL
    kept.details = strdup(ending.details) if ending.details != NULL else NULL
    if kept.message != NULL and kept.details != NULL:
        kept.reason = verdict.reason
        kept.retry_ns = verdict.retry_ns
        strncpy(kept.limit, verdict.limit, LIMIT_TEXT - 1)


cdef void ending_of(Ending *ending, Verdict *verdict) noexcept:
    """Fills the trailers of a refusal. Want of memory leaves out the text, never the code."""
    cdef bint limited = verdict.text[0] == 0
    ending.code = code_of(verdict.reason)
    ending.pushback_ms = 0
    if verdict.retry_ns < 0:
        ending.pushback_ms = -1
    elif verdict.retry_ns > 0:
        ending.pushback_ms = (verdict.retry_ns + 999999) // 1000000
    if limited and find_kept(ending, verdict):
        return
    describe(verdict)
    ending.message = percent_encoded(verdict.text)
    ending.details = details_of(ending.code, verdict.text, name_of(verdict.reason), verdict.retry_ns)
    if limited:
        keep(ending, verdict)


cdef void ending_with(Ending *ending, int code, const char *text, const char *reason) noexcept nogil:
    """The trailers of a cold call's error: text below VERDICT_TEXT bytes, reason at most 64."""
    ending.code = code
    ending.message = percent_encoded(text)
    ending.details = details_of(code, text, reason, 0)


cdef void ending_clear(Ending *ending) noexcept nogil:
    free(ending.message)
    free(ending.details)
    buffer_free(&ending.metadata)
    memset(ending, 0, sizeof(Ending))
