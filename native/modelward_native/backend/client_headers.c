/* Header blocks of the client: those of requests written, those of answers read. Section numbers are RFC 9113's (HTTP/2), and RFC
 * 7541's (HPACK) where they say so. */
#include "client_inner.h"

#include "hpack.h"

enum { AUTHORITY, CONTENT_TYPE, TE, PATH };

/* ---- requests ---- */

/* A field that is nearly always the same; static_name: of its name, from RFC 7541's appendix A, or 0. */
static size_t put_pinned(mw_client *c, uint8_t *to, int pin, bool index, int static_name, const char *name,
                         const char *value, size_t size) {
    if (index && c->pinned[pin]) return mw_hpack_integer(to, 0x80, 7, 62 + c->pins - c->pinned[pin]);
    size_t n = index ? mw_hpack_integer(to, 0x40, 6, static_name) : mw_hpack_integer(to, 0, 4, static_name);
    if (!static_name) n += mw_hpack_string(to + n, name, strlen(name));
    if (index) c->pinned[pin] = ++c->pins;
    return n + mw_hpack_string(to + n, value, size);
}

bool mw_client_put_headers(mw_client *c, int32_t id, const char *path, size_t path_size, const uint8_t *fields,
                           size_t size) {
    static const char INFER[] = "/inference.GRPCInferenceService/ModelInfer";
    bool infer = path_size == sizeof INFER - 1 && !memcmp(path, INFER, path_size);
    size_t most = 128 + path_size + c->authority_size + size, frames = most / MW_CLIENT_FRAME + 1, n = 0;
    if (!reserve(&c->out, most + frames * HEAD)) return false;
    uint8_t *head = c->out.data + c->out.size, *block = head + HEAD;
    if (c->resize) block[n++] = 0x20;
    c->resize = false;
    block[n++] = 0x83; /* :method: POST */
    block[n++] = c->secure ? 0x87 : 0x86;
    n += put_pinned(c, block + n, PATH, c->indexing && infer, 4, "", path, path_size);
    n += put_pinned(c, block + n, AUTHORITY, c->indexing && c->authority_size <= INDEXED_AUTHORITY, 1, "", c->authority,
                    c->authority_size);
    n += put_pinned(c, block + n, CONTENT_TYPE, c->indexing, 31, "", "application/grpc", 16);
    n += put_pinned(c, block + n, TE, c->indexing, 0, "te", "trailers", 8);
    if (size) memcpy(block + n, fields, size);
    n += size;
    if (n <= MW_CLIENT_FRAME) {
        put_head(head, n, HEADERS, END_HEADERS, id);
        c->out.size += HEAD + n;
        return true;
    }
    for (size_t at = 0, k; at < n; at += k) {
        k = n - at < MW_CLIENT_FRAME ? n - at : MW_CLIENT_FRAME;
        if (at) memmove(block + HEAD, block, n - at); /* room for the next frame's head */
        uint8_t *to = at ? block : head;
        put_head(to, k, at ? CONTINUATION : HEADERS, at + k == n ? END_HEADERS : 0, id);
        block = to + HEAD + k;
        c->out.size += HEAD + k;
    }
    return true;
}

/* ---- answers ---- */

static int number(const uint8_t *value, size_t size) {
    int n = 0;
    if (size == 0 || size > 3) return -1;
    for (size_t i = 0; i < size; i++) {
        if (value[i] < '0' || value[i] > '9') return -1;
        n = n * 10 + value[i] - '0';
    }
    return n;
}

static bool named(const nghttp2_nv *nv, const char *name, size_t size) {
    return nv->namelen == size && !memcmp(nv->name, name, size);
}

/* Fields of nearly every answer that tell its reader nothing: no other encoding was offered. */
static bool is_quiet(const nghttp2_nv *nv) {
    return named(nv, "content-type", 12) || named(nv, "grpc-encoding", 13) || named(nv, "grpc-accept-encoding", 20);
}

/* Below 0 for a malformed answer (section 8.1.1). *known: whether the block says nothing but the two statuses. */
static int take_field(mw_client_stream *s, const nghttp2_nv *nv, bool *regular, bool *known) {
    if (nv->namelen && nv->name[0] == ':') {
        if (s->answered || *regular || s->http_status >= 0 || !named(nv, ":status", 7)) return -1;
        s->http_status = number(nv->value, nv->valuelen);
        return s->http_status >= 100 ? 0 : -1;
    }
    *regular = true;
    if (!nghttp2_check_header_name(nv->name, nv->namelen)) return -1;
    if (!nghttp2_check_header_value_rfc9113(nv->value, nv->valuelen)) return -1;
    if (named(nv, "grpc-status", 11)) {
        s->grpc_status = number(nv->value, nv->valuelen);
        if (s->grpc_status > 16) s->grpc_status = 2;
        return 0;
    }
    if (is_quiet(nv)) return 0;
    int taken = s->calls->field(s, nv->name, nv->namelen, nv->value, nv->valuelen);
    if (taken != MW_CLIENT_IGNORED) *known = false;
    return taken;
}

/* Decodes a block; s: NULL where no call waits for it, since the table must follow all blocks. 0; -1: malformed; -2: no HPACK. */
static int inflate(mw_client *c, mw_client_stream *s, const uint8_t *in, size_t size, bool *known) {
    bool regular = false;
    int bad = 0;
    size_t decoded = 0;
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(c->inflater, &nv, &flags, in, size, 1);
        if (n < 0) return -2;
        in += n;
        size -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            decoded += nv.namelen + nv.valuelen + 32;
            if (decoded > BLOCK_BYTES) return -2;
            if (s && !bad && take_field(s, &nv, &regular, known) < 0) bad = -1;
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(c->inflater);
            return bad;
        }
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && size == 0) return -2;
    }
}

/* Indexed fields alone (RFC 7541, section 6.1), which leave the table as it is; longer indices are not worth the trouble. */
static bool only_indexed(const uint8_t *block, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (block[i] <= 0x80 || block[i] == 0xff) return false;
    return true;
}

int mw_client_take_block(mw_client *c, int32_t id, const uint8_t *in, size_t size, bool end) {
    mw_client_stream *s = find(c, id);
    if (s && s->remote_ended) mw_client_reset(c, s, NGHTTP2_STREAM_CLOSED);
    if (s && s->list == CLOSING) s = NULL;
    bool trailers = s && s->answered;
    mw_client_block *k = &c->known[trailers];
    bool again = size && size == k->size && !memcmp(in, k->bytes, size);
    if (s) s->grpc_status = -1;
    if (s && !trailers) s->http_status = -1;
    if (again && s) {
        if (!trailers) s->http_status = k->http_status;
        s->grpc_status = k->grpc_status;
    } else {
        bool known = again || (size && size <= MW_CLIENT_KNOWN && only_indexed(in, size));
        if (!known) c->known[0].size = c->known[1].size = 0;
        int bad = inflate(c, s, in, size, &known);
        if (bad == -2) return fail(c, NGHTTP2_COMPRESSION_ERROR);
        if (!s) return 0;
        if (bad || s->http_status < 0) {
            mw_client_reset(c, s, NGHTTP2_PROTOCOL_ERROR);
            return 0;
        }
        if (known) {
            *k = (mw_client_block){.size = size, .http_status = s->http_status, .grpc_status = s->grpc_status};
            memcpy(k->bytes, in, size);
        }
    }
    if (trailers ? !end : s->http_status < 200 && end) { /* an interim response is not the last, trailers are */
        mw_client_reset(c, s, NGHTTP2_PROTOCOL_ERROR);
        return 0;
    }
    if (s->http_status >= 200) s->answered = true;
    s->calls->frame(s, true, end);
    return 0;
}
