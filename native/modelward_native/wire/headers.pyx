"""What the headers of a request say: the method, its encoding and deadline, and what is kept for others."""
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from modelward_native.access.credentials cimport on_credential
from modelward_native.wire.types cimport METHOD_COLD, METHOD_INFER, METHOD_STREAM_INFER, Stream
from modelward_native.wire.compression cimport ENCODING_DEFLATE, ENCODING_GZIP, ENCODING_UNSUPPORTED
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.forwarded cimport read_forwarded
from modelward_native.wire.grpc cimport buffer_reserve, parse_timeout, wants_gzip
from modelward_native.wire.listener cimport sticky_hash
from modelward_native.wire.trace cimport parse_traceparent
from modelward_native.request.verdict cimport CODE_PERMISSION_DENIED, CODE_UNAUTHENTICATED

cdef extern from *:
    """
    #define _GNU_SOURCE 1
    #include <string.h>
    static int mw_holds(const void *data, size_t size, const char *text) {
        return size && memmem(data, size, text, strlen(text)) != NULL;
    }
    """
    bint mw_holds(const void *data, size_t size, const char *text) noexcept nogil

cdef enum:
    # Of a block of an upstream's headers. With the 32 bytes that gRPC adds for each field this stays below the 8 KiB from
    # which its clients refuse them.
    METADATA_BYTES = 6144

cdef const char *INFER_PATH = "/inference.GRPCInferenceService/ModelInfer"
cdef const char *STREAM_INFER_PATH = "/inference.GRPCInferenceService/ModelStreamInfer"


cdef inline bint same(const uint8_t *data, size_t size, const char *text, size_t text_size) noexcept:
    return size == text_size and memcmp(data, text, size) == 0


cdef int keep_cold_header(Stream *s, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size) noexcept:
    """Cold methods are coroutines and see their metadata as Python objects."""
    cdef object kept
    if s.call == NULL:
        kept = []
        Py_INCREF(kept)
        s.call = <PyObject *>kept
    (<list>(<object><PyObject *>s.call)).append((name[:name_size], value[:value_size]))
    return 0


cdef inline bint begins(const uint8_t *name, size_t size, const char *text, size_t text_size) noexcept:
    """As servers read it that take `-` and `_` for one."""
    cdef size_t i
    if size < text_size:
        return False
    for i in range(text_size):
        if name[i] != <uint8_t>text[i] and not (name[i] == 95 and text[i] == 45):
            return False
    return True


cdef inline bint alike(const uint8_t *name, size_t size, const char *text, size_t text_size) noexcept:
    """As `begins`."""
    return size == text_size and begins(name, size, text, text_size)


cdef inline bint is_part(const uint8_t *name, size_t size, const char *text, size_t text_size) noexcept:
    """Whether the name is this, or begins with it as a word of its own."""
    return begins(name, size, text, text_size) and (
        size == text_size or name[text_size] == 45 or name[text_size] == 95)    # -, _


cdef inline bint ends(const uint8_t *name, size_t size, const char *text, size_t text_size) noexcept:
    return size >= text_size and begins(name + (size - text_size), text_size, text, text_size)


cdef bint is_grpcs(const uint8_t *name, size_t size) noexcept:
    """Whether gRPC libraries send this header, of those whose names gRPC keeps for itself."""
    return (same(name, size, "grpc-previous-rpc-attempts", 26) or same(name, size, "grpc-trace-bin", 14)
            or same(name, size, "grpc-tags-bin", 13) or same(name, size, "grpc-message-type", 17))


cdef bint passed_on(const uint8_t *name, size_t size) noexcept:
    """Whether an upstream sees this header: not what belongs to this hop, nor what only we may say. By the first letter, since
    this is asked of every header."""
    cdef uint8_t first = name[0] if size else 0
    if first == 97:               # a
        return not alike(name, size, "accept-encoding", 15)
    if first == 99:               # c
        return not (alike(name, size, "content-encoding", 16) or alike(name, size, "content-length", 14)
                    or alike(name, size, "content-type", 12) or same(name, size, "connection", 10))
    if first == 101:              # e
        return not same(name, size, "expect", 6)
    if first == 103:              # g
        return not begins(name, size, "grpc-", 5) or is_grpcs(name, size)
    if first == 104:              # h
        return not (same(name, size, "host", 4) or alike(name, size, "http2-settings", 14))
    if first == 107:              # k
        return not alike(name, size, "keep-alive", 10)
    if first == 109:              # m
        return not begins(name, size, "modelward-", 10)
    if first == 112:              # p
        return not begins(name, size, "proxy-", 6)
    if first == 116:              # t
        return not (same(name, size, "te", 2) or same(name, size, "trailer", 7) or alike(name, size, "transfer-encoding", 17))
    return first != 117 or not same(name, size, "upgrade", 7)    # u


def passes(bytes name not None) -> bool:
    """Whether a cold call that is forwarded keeps this header, in lower case. Its message is written again, so none that
    describes the message is kept."""
    return passed_back(<const uint8_t *><char *>name, len(name))


cdef bint passed_back(const uint8_t *name, size_t size) noexcept:
    """Whether the client sees this header of an upstream's answer: not what belongs to the hop, nor what the ending says, nor
    what HTTP servers say of themselves and to caches."""
    cdef uint8_t first = name[0] if size else 58
    if first == 58 or first == 99 and alike(name, size, "cache-control", 13):    # :, c
        return False
    if first == 97 and alike(name, size, "alt-svc", 7) or first == 100 and same(name, size, "date", 4):    # a, d
        return False
    if first == 103 and begins(name, size, "grpc-", 5) or first == 118 and same(name, size, "via", 3):    # g, v
        return False
    if first == 108 and alike(name, size, "last-modified", 13) or first == 115 and same(name, size, "server", 6):    # l, s
        return False
    return passed_on(name, size)


cdef int keep_passed_back(
        Buffer *kept, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size) noexcept:
    """Fields beyond METADATA_BYTES are left out. IGNORED: the client does not see such a field. Below 0 for want of memory."""
    if not passed_back(name, name_size):
        return IGNORED
    if kept.size + 8 + name_size + value_size > METADATA_BYTES:
        return 0
    return keep_header(kept, name, name_size, value, value_size)


cdef bint proves_client(const uint8_t *name, size_t size) noexcept:
    """Whether a header of this name is a credential: by its name, since schemes are many."""
    return (same(name, size, "cookie", 6) or mw_holds(name, size, "auth") or mw_holds(name, size, "key")
            or mw_holds(name, size, "token") or mw_holds(name, size, "secret"))


cdef bint may_prove_itself(const Stream *s) noexcept:
    return s.conn.wire.access == NULL or s.conn.wire.keep_credentials and (s.caller == NULL or not s.caller.name_size)


cdef bint refuses_us(const Stream *s, int status, bint proven) noexcept:
    cdef size_t at = 0
    cdef uint32_t sizes[2]
    if s == NULL or (status != CODE_UNAUTHENTICATED and status != CODE_PERMISSION_DENIED):
        return False
    # it was told who calls, and may judge that; only we can prove to it that we may say so
    if status == CODE_PERMISSION_DENIED and s.caller != NULL and s.caller.name_size:
        return False
    # it has seen no credential of ours: the client's is missing
    if not proven and may_prove_itself(s):
        return False
    while at + 8 <= s.metadata.size:
        memcpy(sizes, s.metadata.data + at, 8)
        if proves_client(s.metadata.data + at + 8, sizes[0]):
            return False
        at += 8 + sizes[0] + sizes[1]
    return True


cdef int keep_header(
        Buffer *kept, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size) noexcept:
    """Two lengths, name, value, behind one another; bounded by what is taken of headers."""
    cdef uint32_t sizes[2]
    cdef size_t size = 8 + name_size + value_size
    sizes[0] = <uint32_t>name_size
    sizes[1] = <uint32_t>value_size
    if kept.size + size > kept.capacity and buffer_reserve(
            kept, max(kept.size + size, 2 * kept.capacity, <size_t>256)) < 0:
        return -1
    memcpy(kept.data + kept.size, sizes, 8)
    memcpy(kept.data + kept.size + 8, name, name_size)
    memcpy(kept.data + kept.size + 8 + name_size, value, value_size)
    kept.size += size
    return 0


cdef bint is_like_credential(const uint8_t *name, size_t size) noexcept:
    """Whether servers may take the header for one of the credentials that are checked here, which it is not."""
    if name[0] != 97 and name[0] != 120:    # a, x
        return False
    cdef size_t bare = size - 4 if size > 4 and ends(name, size, "-bin", 4) else size
    return bare == 13 and memcmp(name, b"authorization", 13) == 0 or bare == 9 and begins(name, 9, "x-api-key", 9)


cdef bint names_other_peer(const uint8_t *name, size_t size) noexcept:
    """Whether the header names a client behind the peer. It is passed on only from a trusted proxy."""
    cdef uint8_t first = name[0] if size else 0
    if size and name[size - 1] == 112 and (ends(name, size, "client-ip", 9) or ends(name, size, "connecting-ip", 13)):    # p
        return True
    if first == 120:              # x
        return (is_part(name, size, "x-forwarded", 11) or begins(name, size, "x-real-ip", 9)
                or begins(name, size, "x-envoy-", 8) or begins(name, size, "x-original-", 11)
                or begins(name, size, "x-remote-", 9) or begins(name, size, "x-ssl-", 6)
                or begins(name, size, "x-auth-request-", 15))
    if first != 102 and first != 118 and first != 114 and first != 115:    # f, v, r, s
        return False
    return (is_part(name, size, "forwarded", 9) or same(name, size, "via", 3)
            or begins(name, size, "remote-", 7) or begins(name, size, "ssl-client-", 11))


cdef int keep(
        Stream *s, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size, bint metadata) noexcept:
    """metadata: upstreams see some of it."""
    if s.method == METHOD_COLD:
        return keep_cold_header(s, name, name_size, value, value_size)
    if metadata and passed_on(name, name_size):
        return keep_header(&s.metadata, name, name_size, value, value_size)
    return 0


cdef int read_pseudo_header(
        Stream *s, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size) noexcept:
    if same(name, name_size, ":path", 5):
        if same(value, value_size, INFER_PATH, 42):
            s.method = METHOD_INFER
            s.unary = True
        elif same(value, value_size, STREAM_INFER_PATH, 48):
            s.method = METHOD_STREAM_INFER
        else:
            s.method = METHOD_COLD
            return keep_cold_header(s, name, name_size, value, value_size)
    elif same(name, name_size, ":method", 7):
        s.is_post = same(value, value_size, "POST", 4)
    return 0


cdef int read_header(
        Stream *s, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size, bint keep_metadata) noexcept:
    if name[0] == 58:             # :
        return read_pseudo_header(s, name, name_size, value, value_size)
    if name_size == 12 and memcmp(name, b"content-type", 12) == 0:
        s.content_type_seen = value_size >= 16 and memcmp(value, b"application/grpc", 16) == 0 and (
            value_size == 16 or value[16] == 43 or value[16] == 59)
    elif name_size == 12 and memcmp(name, b"grpc-timeout", 12) == 0:
        s.timeout = parse_timeout(value, value_size)
        if s.timeout < 0:
            s.timeout = 0
            s.timeout_malformed = True
        elif s.timeout == 0:
            s.timeout = 1         # "0S" is a deadline that has passed, not the absence of one
    elif name_size == 13 and memcmp(name, b"grpc-encoding", 13) == 0:
        if same(value, value_size, "gzip", 4):
            s.encoding = ENCODING_GZIP
        elif same(value, value_size, "deflate", 7):
            s.encoding = ENCODING_DEFLATE
        elif not same(value, value_size, "identity", 8):
            s.encoding = ENCODING_UNSUPPORTED
    elif s.conn.wire.access != NULL and (
            same(name, name_size, "authorization", 13) or same(name, name_size, "x-api-key", 9)):
        on_credential(s, name_size == 9, value, value_size)
        if name_size == 13 and s.conn.wire.keep_credentials and not s.credential_is_key:
            return keep(s, name, name_size, value, value_size, keep_metadata)
    elif s.conn.wire.access != NULL and is_like_credential(name, name_size):
        return 0
    elif not s.conn.trusted and names_other_peer(name, name_size):
        return 0
    elif same(name, name_size, "modelward-shadow", 16):
        s.mirrored = True         # request/streams and stages/permit decide whether that is believed
    elif name_size == 20 and memcmp(name, b"grpc-accept-encoding", 20) == 0:
        s.prefers_gzip = wants_gzip(value, value_size, &s.accepts_gzip)
    else:
        if s.conn.trusted and same(name, name_size, "x-forwarded-for", 15):
            read_forwarded(s, value, value_size)
        if same(name, name_size, <const char *>s.conn.wire.sticky_header.data, s.conn.wire.sticky_header.size):
            s.sticky = sticky_hash(s.conn.wire, value, value_size)
        if s.conn.wire.keep_trace and same(name, name_size, "traceparent", 11):
            s.traced = parse_traceparent(s.trace, value, value_size)
        return keep(s, name, name_size, value, value_size, keep_metadata)
    return 0
