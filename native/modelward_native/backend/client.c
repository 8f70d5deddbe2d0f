/* Section numbers are RFC 9113's (HTTP/2), and RFC 7541's (HPACK) where they say so. */
#include "client.h"

#include "hpack.h"

#include <stdlib.h>
#include <string.h>

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 32 };
enum { UNLISTED, WAITING, READY, CLOSING };
enum { AUTHORITY, CONTENT_TYPE, TE, PATH };
enum {
    HEAD = 9,
    WINDOW = 65535,               /* before SETTINGS and WINDOW_UPDATE */
    LARGEST_WINDOW = 0x7fffffff,
    LARGEST_ID = 0x7fffffff,
    TABLE = 4096,                 /* of HPACK, before SETTINGS; ours and theirs */
    INDEXED_AUTHORITY = 512,      /* bytes: the pinned fields stay far below TABLE */
    BLOCK_BYTES = 65536,          /* of a header block, encoded and decoded */
    CONTINUATIONS = 8,            /* as libnghttp2 takes */
    ACKS = 256,                   /* of SETTINGS and PING that wait to be written, likewise */
    KEEP_BYTES = 65536,           /* an empty buffer up to this size is kept */
    LEAST_DATA = 1024,            /* room that a DATA frame is worth beginning for */
};

/* ---- buffers ---- */

static bool reserve(mw_client_buffer *b, size_t more) {
    if (b->capacity - b->size >= more) return true;
    size_t capacity = b->capacity ? b->capacity : 1024;
    while (capacity - b->size < more) capacity *= 2;
    uint8_t *data = realloc(b->data, capacity);
    if (!data) return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

static bool append(mw_client_buffer *b, const void *data, size_t size) {
    if (!reserve(b, size)) return false;
    if (size) memcpy(b->data + b->size, data, size);
    b->size += size;
    return true;
}

static void emptied(mw_client_buffer *b) {
    b->size = 0;
    if (b->capacity <= KEEP_BYTES) return;
    free(b->data);
    memset(b, 0, sizeof *b);
}

static void put32(uint8_t *to, uint32_t x) {
    to[0] = (uint8_t)(x >> 24), to[1] = (uint8_t)(x >> 16), to[2] = (uint8_t)(x >> 8), to[3] = (uint8_t)x;
}

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_head(uint8_t *to, size_t size, uint8_t type, uint8_t flags, int32_t id) {
    to[0] = (uint8_t)(size >> 16), to[1] = (uint8_t)(size >> 8), to[2] = (uint8_t)size;
    to[3] = type, to[4] = flags;
    put32(to + 5, (uint32_t)id);
}

/* Want of memory for a frame ends the connection: a peer that misses one would misread all that follow. */
static void stage(mw_client *c, uint8_t type, uint8_t flags, int32_t id, const void *payload, size_t size) {
    if (c->failed) return;
    if (!reserve(&c->out, HEAD + size)) {
        c->failed = true;
        return;
    }
    put_head(c->out.data + c->out.size, size, type, flags, id);
    c->out.size += HEAD;
    append(&c->out, payload, size);
}

static void stage32(mw_client *c, uint8_t type, int32_t id, uint32_t value) {
    uint8_t payload[4];
    put32(payload, value);
    stage(c, type, 0, id, payload, 4);
}

static int fail(mw_client *c, uint32_t error) {
    uint8_t payload[8] = {0};     /* no stream of the peer's was ever processed: it cannot open one */
    put32(payload + 4, error);
    stage(c, GOAWAY, 0, 0, payload, 8);
    c->failed = true;
    return -1;
}

/* ---- streams ---- */

static mw_client_list *list_of(mw_client *c, int list) {
    return list == WAITING ? &c->waiting : list == READY ? &c->ready : &c->closing;
}

static void unlist(mw_client *c, mw_client_stream *s) {
    if (s->list == UNLISTED) return;
    mw_client_list *l = list_of(c, s->list);
    if (s->previous) s->previous->next = s->next; else l->first = s->next;
    if (s->next) s->next->previous = s->previous; else l->last = s->previous;
    s->previous = s->next = NULL;
    s->list = UNLISTED;
}

static void enlist(mw_client *c, mw_client_stream *s, int list) {
    if (s->list == list) return;
    unlist(c, s);
    mw_client_list *l = list_of(c, list);
    s->previous = l->last;
    if (l->last) l->last->next = s; else l->first = s;
    l->last = s;
    s->list = (uint8_t)list;
}

static uint32_t bucket_number(int32_t id) { return ((uint32_t)id >> 1) % MW_CLIENT_BUCKETS; }

static mw_client_stream **bucket_of(mw_client *c, int32_t id) { return &c->bucket[bucket_number(id)]; }

static mw_client_stream *find(mw_client *c, int32_t id) {
    mw_client_stream *s = *bucket_of(c, id);
    while (s && s->id != id) s = s->bucket_next;
    return s;
}

static void close_stream(mw_client *c, mw_client_stream *s, uint32_t error) {
    unlist(c, s);
    free(s->block);
    if (s->id) {
        mw_client_stream **link = bucket_of(c, s->id);
        while (*link != s) link = &(*link)->bucket_next;
        *link = s->bucket_next;
        c->open--;
    }
    s->calls->closed(s, error);
}

static void close_all(mw_client *c) {
    while (c->closing.first) close_stream(c, c->closing.first, c->closing.first->error);
}

static void make_ready(mw_client *c, mw_client_stream *s) {
    if (s->id && !s->local_ended && !s->deferred && s->list == UNLISTED) enlist(c, s, READY);
}

/* ---- requests ---- */

/* A field that is nearly always the same; static_name: of its name, from RFC 7541's appendix A, or 0. */
static size_t put_pinned(mw_client *c, uint8_t *to, int pin, bool index, int static_name, const char *name, const char *value,
                         size_t size) {
    if (index && c->pinned[pin]) return mw_hpack_integer(to, 0x80, 7, 62 + c->pins - c->pinned[pin]);
    size_t n = index ? mw_hpack_integer(to, 0x40, 6, static_name) : mw_hpack_integer(to, 0, 4, static_name);
    if (!static_name) n += mw_hpack_string(to + n, name, strlen(name));
    if (index) c->pinned[pin] = ++c->pins;
    return n + mw_hpack_string(to + n, value, size);
}

/* HEADERS, and CONTINUATIONs where one frame does not hold it. What is pinned here must be sent, in this order. */
static bool put_headers(mw_client *c, int32_t id, const char *path, size_t path_size, const uint8_t *fields, size_t size) {
    static const char INFER[] = "/inference.GRPCInferenceService/ModelInfer";
    bool infer = path_size == sizeof INFER - 1 && !memcmp(path, INFER, path_size);
    size_t most = 128 + path_size + c->authority_size + size, frames = most / MW_CLIENT_FRAME + 1, n = 0;
    if (!reserve(&c->out, most + frames * HEAD)) return false;
    uint8_t *head = c->out.data + c->out.size, *block = head + HEAD;
    if (c->resize) block[n++] = 0x20;
    c->resize = false;
    block[n++] = 0x83;            /* :method: POST */
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
        if (at) memmove(block + HEAD, block, n - at);      /* room for the next frame's head */
        uint8_t *to = at ? block : head;
        put_head(to, k, at ? CONTINUATION : HEADERS, at + k == n ? END_HEADERS : 0, id);
        block = to + HEAD + k;
        c->out.size += HEAD + k;
    }
    return true;
}

/* No stream is opened any more. */
static void refuse_waiting(mw_client *c, uint32_t error) {
    mw_client_stream *s;
    c->goaway = true;
    while ((s = c->waiting.first)) {
        s->error = error;
        enlist(c, s, CLOSING);
    }
}

static bool open_stream(mw_client *c, mw_client_stream *s, const char *path, size_t path_size, const uint8_t *fields,
                        size_t size) {
    s->id = (int32_t)c->next_id;
    if (!put_headers(c, s->id, path, path_size, fields, size)) {
        s->id = 0;
        return false;
    }
    c->next_id += 2;
    c->open++;
    s->send_window = c->initial_window;
    mw_client_stream **bucket = bucket_of(c, s->id);
    s->bucket_next = *bucket;
    *bucket = s;
    enlist(c, s, READY);
    if (c->next_id <= LARGEST_ID) return true;
    /* the last id, after three hours at 100,000 requests a second: what comes next goes over another connection */
    c->hooks->goaway(c->context);
    refuse_waiting(c, NGHTTP2_REFUSED_STREAM);
    return true;
}

int mw_client_submit(mw_client *c, mw_client_stream *s, const char *path, size_t path_size, const uint8_t *fields, size_t size) {
    s->http_status = s->grpc_status = -1;
    if (c->goaway || c->failed) return -1;
    if (c->open < c->max_streams && !c->waiting.first) return open_stream(c, s, path, path_size, fields, size) ? 0 : -1;
    /* path and fields behind one another */
    s->block = malloc(sizeof path_size + path_size + size);
    if (!s->block) return -1;
    memcpy(s->block, &path_size, sizeof path_size);
    memcpy(s->block + sizeof path_size, path, path_size);
    if (size) memcpy(s->block + sizeof path_size + path_size, fields, size);
    s->block_size = sizeof path_size + path_size + size;
    enlist(c, s, WAITING);
    return 0;
}

static void open_waiting(mw_client *c) {
    mw_client_stream *s;
    while ((s = c->waiting.first) && c->open < c->max_streams) {
        uint8_t *block = s->block;
        size_t path_size, at = sizeof path_size;
        memcpy(&path_size, block, at);
        s->block = NULL;
        unlist(c, s);
        bool opened = open_stream(c, s, (const char *)block + at, path_size, block + at + path_size,
                                  s->block_size - at - path_size);
        free(block);
        if (opened) continue;
        s->error = NGHTTP2_REFUSED_STREAM;
        enlist(c, s, CLOSING);
    }
}

void mw_client_resume(mw_client *c, mw_client_stream *s) {
    s->deferred = false;
    make_ready(c, s);
}

void mw_client_reset(mw_client *c, mw_client_stream *s, uint32_t error) {
    if (s->list == CLOSING) return;
    if (s->id) stage32(c, RST_STREAM, s->id, error);
    s->error = error;
    enlist(c, s, CLOSING);
}

void mw_client_consume(mw_client *c, mw_client_stream *s, size_t size) {
    uint32_t *received = s ? &s->received : &c->received, *consumed = s ? &s->consumed : &c->consumed;
    uint32_t window = s ? c->stream_window : c->window;
    *consumed += (uint32_t)(size < *received - *consumed ? size : *received - *consumed);
    if (*consumed < window / 2 || (s && (s->remote_ended || s->list == CLOSING || !s->id))) return;
    stage32(c, WINDOW_UPDATE, s ? s->id : 0, *consumed);
    *received -= *consumed;
    *consumed = 0;
}

void mw_client_ping(mw_client *c) { stage(c, PING, 0, 0, (uint8_t[8]){0}, 8); }

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

/* 0, or below for a malformed answer (section 8.1.1). *known: whether the block says nothing but the two statuses. */
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
    *known = false;
    return s->calls->field(s, nv->name, nv->namelen, nv->value, nv->valuelen);
}

/* Decodes a block, for the table's sake also where nobody waits for it (s is NULL). 0, -1 a malformed one, -2 no HPACK. */
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
    for (size_t i = 0; i < size; i++) if (block[i] <= 0x80 || block[i] == 0xff) return false;
    return true;
}

static int take_block(mw_client *c, int32_t id, const uint8_t *in, size_t size, bool end) {
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
    if (trailers ? !end : s->http_status < 200 && end) {   /* an interim response is not the last, trailers are */
        mw_client_reset(c, s, NGHTTP2_PROTOCOL_ERROR);
        return 0;
    }
    if (s->http_status >= 200) s->answered = true;
    s->calls->frame(s, true, end);
    return 0;
}

/* What END_STREAM ends, once everything before it has been told. */
static void end_remote(mw_client *c, int32_t id) {
    mw_client_stream *s = find(c, id);
    if (!s || s->list == CLOSING) return;
    s->remote_ended = true;
    if (s->local_ended) close_stream(c, s, NGHTTP2_NO_ERROR);
}

static bool idle(const mw_client *c, int32_t id) { return !(id & 1) || id >= c->next_id; }

/* The payload without its padding (section 6.1); false where that is longer than the frame. */
static bool unpadded(uint8_t flags, const uint8_t **data, size_t *size) {
    if (!(flags & PADDED)) return true;
    if (*size < 1 || (size_t)**data + 1 > *size) return false;
    *size -= (size_t)**data + 1;
    ++*data;
    return true;
}

static int on_data(mw_client *c, int32_t id, uint8_t flags, const uint8_t *data, size_t size) {
    size_t whole = size;
    if (idle(c, id) || !unpadded(flags, &data, &size)) return fail(c, NGHTTP2_PROTOCOL_ERROR);
    if (whole > c->window - c->received) return fail(c, NGHTTP2_FLOW_CONTROL_ERROR);
    c->received += (uint32_t)whole;
    mw_client_stream *s = find(c, id);
    if (s && s->list != CLOSING) {
        uint32_t error = s->remote_ended ? NGHTTP2_STREAM_CLOSED : !s->answered ? NGHTTP2_PROTOCOL_ERROR
            : whole > c->stream_window - s->received ? NGHTTP2_FLOW_CONTROL_ERROR : NGHTTP2_NO_ERROR;
        if (error) mw_client_reset(c, s, error);
    }
    if (!s || s->list == CLOSING) {
        mw_client_consume(c, NULL, whole);
        return 0;
    }
    s->received += (uint32_t)whole;
    mw_client_consume(c, NULL, whole - size);
    mw_client_consume(c, s, whole - size);
    if (size) s->calls->data(s, data, size);
    if (s->list != CLOSING) s->calls->frame(s, false, flags & END_STREAM);
    if (flags & END_STREAM) end_remote(c, id);
    return 0;
}

static int on_headers(mw_client *c, int32_t id, uint8_t flags, const uint8_t *data, size_t size) {
    if (idle(c, id) || !unpadded(flags, &data, &size)) return fail(c, NGHTTP2_PROTOCOL_ERROR);
    if (flags & WITH_PRIORITY) {
        if (size < 5) return fail(c, NGHTTP2_FRAME_SIZE_ERROR);
        data += 5, size -= 5;
    }
    if (flags & END_HEADERS) {
        if (take_block(c, id, data, size, flags & END_STREAM) < 0) return -1;
        if (flags & END_STREAM) end_remote(c, id);
        return 0;
    }
    c->continued = id;
    c->continuations = 0;
    c->continued_end = flags & END_STREAM;
    emptied(&c->block);
    return append(&c->block, data, size) ? 0 : fail(c, NGHTTP2_INTERNAL_ERROR);
}

static int on_continuation(mw_client *c, uint8_t flags, const uint8_t *data, size_t size) {
    if (++c->continuations > CONTINUATIONS || c->block.size + size > BLOCK_BYTES) return fail(c, NGHTTP2_ENHANCE_YOUR_CALM);
    if (!append(&c->block, data, size)) return fail(c, NGHTTP2_INTERNAL_ERROR);
    if (!(flags & END_HEADERS)) return 0;
    int32_t id = c->continued;
    c->continued = 0;
    if (take_block(c, id, c->block.data, c->block.size, c->continued_end) < 0) return -1;
    if (c->continued_end) end_remote(c, id);
    return 0;
}

static int set_initial_window(mw_client *c, uint32_t value) {
    if (value > LARGEST_WINDOW) return fail(c, NGHTTP2_FLOW_CONTROL_ERROR);
    int64_t more = (int64_t)value - c->initial_window;
    c->initial_window = value;
    for (int i = 0; i < MW_CLIENT_BUCKETS; i++) {
        for (mw_client_stream *s = c->bucket[i]; s; s = s->bucket_next) {
            s->send_window += more;
            if (s->send_window > LARGEST_WINDOW) return fail(c, NGHTTP2_FLOW_CONTROL_ERROR);
            if (s->send_window > 0) make_ready(c, s);
        }
    }
    return 0;
}

static int acknowledge(mw_client *c, uint8_t type, const uint8_t *payload, size_t size) {
    if (++c->acks > ACKS) return fail(c, NGHTTP2_ENHANCE_YOUR_CALM);
    stage(c, type, ACK, 0, payload, size);
    return 0;
}

static int on_ping(mw_client *c, uint8_t flags, const uint8_t *payload, size_t size) {
    if (!(flags & ACK)) return acknowledge(c, PING, payload, size);
    c->hooks->pong(c->context);
    return 0;
}

static int on_settings(mw_client *c, uint8_t flags, const uint8_t *p, size_t size) {
    if (flags & ACK) return size ? fail(c, NGHTTP2_FRAME_SIZE_ERROR) : 0;
    if (size % 6) return fail(c, NGHTTP2_FRAME_SIZE_ERROR);
    bool first = !c->greeted;
    if (first) c->max_streams = UINT32_MAX;      /* unless these say otherwise */
    c->greeted = true;
    for (const uint8_t *end = p + size; p < end; p += 6) {
        uint32_t value = get32(p + 2);
        switch (p[0] << 8 | p[1]) {
        case NGHTTP2_SETTINGS_HEADER_TABLE_SIZE:
            if (value >= TABLE || !c->indexing) break;
            /* not worth a table: it is emptied once and for all (RFC 7541, section 4.2) */
            c->indexing = false;
            c->resize = true;
            break;
        case NGHTTP2_SETTINGS_ENABLE_PUSH:
            if (value) return fail(c, NGHTTP2_PROTOCOL_ERROR);
            break;
        case NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS:
            c->max_streams = value;
            break;
        case NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE:
            if (set_initial_window(c, value) < 0) return -1;
            break;
        case NGHTTP2_SETTINGS_MAX_FRAME_SIZE:
            if (value < MW_CLIENT_FRAME || value > 0xffffff) return fail(c, NGHTTP2_PROTOCOL_ERROR);
            break;                /* larger frames than everybody takes are not sent */
        }
    }
    if (acknowledge(c, SETTINGS, NULL, 0) < 0) return -1;
    if (first) c->hooks->greeted(c->context);
    return 0;
}

static int on_window_update(mw_client *c, int32_t id, const uint8_t *p) {
    uint32_t more = get32(p) & LARGEST_WINDOW;
    if (id == 0) {
        c->send_window += more;
        if (!more) return fail(c, NGHTTP2_PROTOCOL_ERROR);
        return c->send_window > LARGEST_WINDOW ? fail(c, NGHTTP2_FLOW_CONTROL_ERROR) : 0;
    }
    if (idle(c, id)) return fail(c, NGHTTP2_PROTOCOL_ERROR);
    mw_client_stream *s = find(c, id);
    if (!s || s->list == CLOSING) return 0;
    s->send_window += more;
    if (!more) mw_client_reset(c, s, NGHTTP2_PROTOCOL_ERROR);
    else if (s->send_window > LARGEST_WINDOW) mw_client_reset(c, s, NGHTTP2_FLOW_CONTROL_ERROR);
    else if (s->send_window > 0) make_ready(c, s);
    return 0;
}

/* Streams beyond `last`, and those that wait for an id. */
static void close_beyond(mw_client *c, int64_t last, uint32_t error) {
    mw_client_stream *s;
    refuse_waiting(c, error);
    for (int i = 0; i < MW_CLIENT_BUCKETS; i++) {
        for (s = c->bucket[i]; s; s = s->bucket_next) {
            if (s->id <= last || s->list == CLOSING) continue;
            s->error = error;
            enlist(c, s, CLOSING);
        }
    }
    close_all(c);
}

/* What the peer has not taken, others may: its owner is told first, so that no call comes back here. */
static int on_goaway(mw_client *c, int64_t last) {
    c->goaway = true;
    c->hooks->goaway(c->context);
    close_beyond(c, last, NGHTTP2_REFUSED_STREAM);
    return 0;
}

static int on_reset(mw_client *c, int32_t id, uint32_t error) {
    if (idle(c, id)) return fail(c, NGHTTP2_PROTOCOL_ERROR);
    mw_client_stream *s = find(c, id);
    if (s) close_stream(c, s, error);
    return 0;
}

/* Sizes and streams of section 6: each type's frame is that of one stream, or of the connection. */
static bool misplaced(uint8_t type, int32_t id) {
    switch (type) {
    case DATA: case HEADERS: case PRIORITY: case RST_STREAM: case CONTINUATION: return id == 0;
    case SETTINGS: case PING: case GOAWAY: return id != 0;
    }
    return false;
}

static bool missized(uint8_t type, size_t size) {
    switch (type) {
    case PRIORITY: return size != 5;
    case RST_STREAM: case WINDOW_UPDATE: return size != 4;
    case PING: return size != 8;
    case GOAWAY: return size < 8;
    }
    return false;
}

static int take_frame(mw_client *c, const uint8_t *head, size_t size) {
    const uint8_t *payload = head + HEAD;
    uint8_t type = head[3], flags = head[4];
    int32_t id = (int32_t)(get32(head + 5) & LARGEST_ID);
    if (!c->greeted && (type != SETTINGS || flags & ACK)) return fail(c, NGHTTP2_PROTOCOL_ERROR);
    if ((c->continued != 0) != (type == CONTINUATION) || (c->continued && c->continued != id) || misplaced(type, id))
        return fail(c, NGHTTP2_PROTOCOL_ERROR);
    if (missized(type, size)) return fail(c, NGHTTP2_FRAME_SIZE_ERROR);
    switch (type) {
    case DATA: return on_data(c, id, flags, payload, size);
    case HEADERS: return on_headers(c, id, flags, payload, size);
    case RST_STREAM: return on_reset(c, id, get32(payload));
    case SETTINGS: return on_settings(c, flags, payload, size);
    case PUSH_PROMISE: return fail(c, NGHTTP2_PROTOCOL_ERROR);     /* SETTINGS_ENABLE_PUSH is 0 */
    case PING: return on_ping(c, flags, payload, size);
    case GOAWAY: return on_goaway(c, get32(payload) & LARGEST_ID);
    case WINDOW_UPDATE: return on_window_update(c, id, payload);
    case CONTINUATION: return on_continuation(c, flags, payload, size);
    }
    return 0;                     /* PRIORITY is of no use to a client, and unknown types are ignored */
}

static size_t size_of(const uint8_t *head) { return (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2]; }

int mw_client_receive(mw_client *c, const uint8_t *data, size_t size) {
    while (size && !c->failed) {
        bool held = c->in.size;
        const uint8_t *head = held ? c->in.data : data;
        size_t have = held ? c->in.size : size, need = HEAD;
        if (have >= HEAD) {
            if (size_of(head) > MW_CLIENT_FRAME) return fail(c, NGHTTP2_FRAME_SIZE_ERROR);
            need += size_of(head);
        }
        if (held || have < need) {    /* what of the frame has come is kept, until it is whole */
            size_t n = need - c->in.size < size ? need - c->in.size : size;
            if (!append(&c->in, data, n)) return fail(c, NGHTTP2_INTERNAL_ERROR);
            data += n, size -= n;
            if (c->in.size < HEAD || c->in.size < HEAD + size_of(c->in.data)) continue;
            c->in.size = 0;
            if (size_of(c->in.data) > MW_CLIENT_FRAME) return fail(c, NGHTTP2_FRAME_SIZE_ERROR);
            if (take_frame(c, c->in.data, size_of(c->in.data)) < 0) return -1;
            continue;
        }
        if (take_frame(c, head, need - HEAD) < 0) return -1;
        data += need, size -= need;
    }
    return c->failed ? -1 : 0;
}

/* ---- what is written ---- */

static size_t write_staged(mw_client *c, uint8_t *to, size_t room) {
    size_t left = c->out.size - c->out_sent, n = left < room ? left : room;
    if (n) memcpy(to, c->out.data + c->out_sent, n);
    c->out_sent += n;
    if (c->out_sent < c->out.size) return n;
    c->out_sent = 0;
    c->acks = 0;
    emptied(&c->out);
    return n;
}

/* One DATA frame of the stream that has waited longest; 0 where the peer, or the stream, has nothing for it now. */
static size_t write_data(mw_client *c, mw_client_stream *s, uint8_t *to, size_t room) {
    int64_t most = c->send_window < s->send_window ? c->send_window : s->send_window;
    int end = 0;
    if (most > MW_CLIENT_FRAME) most = MW_CLIENT_FRAME;
    if (most > (int64_t)(room - HEAD)) most = (int64_t)(room - HEAD);
    unlist(c, s);
    if (most <= 0) return 0;
    ssize_t n = s->calls->read(s, to + HEAD, (size_t)most, &end);
    if (n < 0 || (n == 0 && !end)) {
        s->deferred = true;
        return 0;
    }
    c->send_window -= n;
    s->send_window -= n;
    put_head(to, (size_t)n, DATA, end ? END_STREAM : 0, s->id);
    if (!end) make_ready(c, s);
    s->local_ended = end;
    if (end && s->remote_ended) close_stream(c, s, NGHTTP2_NO_ERROR);
    return HEAD + (size_t)n;
}

size_t mw_client_write(mw_client *c, uint8_t *to, size_t room) {
    close_all(c);
    if (!c->failed && !c->goaway) open_waiting(c);
    close_all(c);
    size_t n = write_staged(c, to, room);
    while (!c->failed && !c->out.size && c->ready.first && c->send_window > 0 && room - n >= LEAST_DATA)
        n += write_data(c, c->ready.first, to + n, room - n);
    /* what reading has asked for, such as a reset, comes behind it */
    return n;
}

void mw_client_lose(mw_client *c) {
    c->failed = true;
    close_beyond(c, 0, MW_CLIENT_LOST);
}

bool mw_client_busy(const mw_client *c) { return c->open || c->waiting.first; }

mw_client_stream *mw_client_next(const mw_client *c, const mw_client_stream *s) {
    if (s && !s->id) return s->next;
    if (s && s->bucket_next) return s->bucket_next;
    for (uint32_t i = s ? bucket_number(s->id) + 1 : 0; i < MW_CLIENT_BUCKETS; i++)
        if (c->bucket[i]) return c->bucket[i];
    return c->waiting.first;
}

bool mw_client_done(const mw_client *c) {
    return c->out.size == 0 && (c->failed || (c->goaway && !mw_client_busy(c)));
}

/* ---- the connection ---- */

mw_client *mw_client_new(const mw_client_hooks *hooks, void *context, const char *authority, size_t authority_size, bool secure,
                         uint32_t stream_window, uint32_t window) {
    mw_client *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    if (nghttp2_hd_inflate_new(&c->inflater)) {
        free(c);
        return NULL;
    }
    c->hooks = hooks;
    c->context = context;
    c->authority = authority;
    c->authority_size = authority_size;
    c->secure = secure;
    c->indexing = true;
    c->next_id = 1;
    c->max_streams = 100;         /* until it says; what more comes at once waits for its SETTINGS */
    c->initial_window = c->send_window = WINDOW;
    c->stream_window = stream_window;
    c->window = window;
    uint8_t settings[12] = {0, NGHTTP2_SETTINGS_ENABLE_PUSH, 0, 0, 0, 0, 0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE};
    put32(settings + 8, stream_window);
    if (!append(&c->out, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN)) c->failed = true;
    stage(c, SETTINGS, 0, 0, settings, sizeof settings);
    stage32(c, WINDOW_UPDATE, 0, window - WINDOW);
    if (!c->failed) return c;
    mw_client_free(c);
    return NULL;
}

void mw_client_free(mw_client *c) {
    if (!c) return;
    nghttp2_hd_inflate_del(c->inflater);
    free(c->out.data);
    free(c->in.data);
    free(c->block.data);
    free(c);
}
