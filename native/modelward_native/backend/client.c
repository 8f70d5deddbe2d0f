/* One connection of the client: its streams opened, reset and closed, and what it writes. */
#include "client_inner.h"

/* ---- requests ---- */

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
    if (!mw_client_put_headers(c, s->id, path, path_size, fields, size)) {
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

int mw_client_submit(mw_client *c, mw_client_stream *s, const char *path, size_t path_size, const uint8_t *fields,
                     size_t size) {
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

void mw_client_ping(mw_client *c) { stage(c, PING, 0, 0, (uint8_t[8]){0}, 8); }

void mw_client_close_beyond(mw_client *c, int64_t last, uint32_t error) {
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
    mw_client_close_beyond(c, 0, MW_CLIENT_LOST);
}

bool mw_client_busy(const mw_client *c) { return c->open || c->waiting.first; }

mw_client_stream *mw_client_next(const mw_client *c, const mw_client_stream *s) {
    if (s && !s->id) return s->next;
    if (s && s->bucket_next) return s->bucket_next;
    for (uint32_t i = s ? bucket_number(s->id) + 1 : 0; i < MW_CLIENT_BUCKETS; i++)
        if (c->bucket[i]) return c->bucket[i];
    return c->waiting.first;
}

bool mw_client_done(const mw_client *c) { return c->out.size == 0 && (c->failed || (c->goaway && !mw_client_busy(c))); }

/* ---- the connection ---- */

mw_client *mw_client_new(const mw_client_hooks *hooks, void *context, const char *authority, size_t authority_size,
                         bool secure, uint32_t stream_window, uint32_t window) {
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
    c->max_streams = 100; /* until it says; what more comes at once waits for its SETTINGS */
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
