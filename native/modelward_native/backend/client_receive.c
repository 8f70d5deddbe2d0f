/* Frames that the client reads, and the windows that it opens for more. Section numbers are RFC 9113's (HTTP/2). */
#include "client_inner.h"

/* ---- windows ---- */

void mw_client_consume(mw_client *c, mw_client_stream *s, size_t size) {
    uint32_t *received = s ? &s->received : &c->received, *consumed = s ? &s->consumed : &c->consumed;
    uint32_t window = s ? c->stream_window : c->window;
    *consumed += (uint32_t)(size < *received - *consumed ? size : *received - *consumed);
    if (*consumed < window / 2 || (s && (s->remote_ended || s->list == CLOSING || !s->id))) return;
    stage32(c, WINDOW_UPDATE, s ? s->id : 0, *consumed);
    *received -= *consumed;
    *consumed = 0;
}

/* ---- streams' frames ---- */

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
        uint32_t error = s->remote_ended                          ? NGHTTP2_STREAM_CLOSED
                         : !s->answered                           ? NGHTTP2_PROTOCOL_ERROR
                         : whole > c->stream_window - s->received ? NGHTTP2_FLOW_CONTROL_ERROR
                                                                  : NGHTTP2_NO_ERROR;
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
        if (mw_client_take_block(c, id, data, size, flags & END_STREAM) < 0) return -1;
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
    if (++c->continuations > CONTINUATIONS || c->block.size + size > BLOCK_BYTES)
        return fail(c, NGHTTP2_ENHANCE_YOUR_CALM);
    if (!append(&c->block, data, size)) return fail(c, NGHTTP2_INTERNAL_ERROR);
    if (!(flags & END_HEADERS)) return 0;
    int32_t id = c->continued;
    c->continued = 0;
    if (mw_client_take_block(c, id, c->block.data, c->block.size, c->continued_end) < 0) return -1;
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
    c->hooks->ping_answered(c->context);
    return 0;
}

static int on_settings(mw_client *c, uint8_t flags, const uint8_t *p, size_t size) {
    if (flags & ACK) return size ? fail(c, NGHTTP2_FRAME_SIZE_ERROR) : 0;
    if (size % 6) return fail(c, NGHTTP2_FRAME_SIZE_ERROR);
    bool first = !c->greeted;
    if (first) c->max_streams = UINT32_MAX; /* unless these say otherwise */
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
            case NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS: c->max_streams = value; break;
            case NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE:
                if (set_initial_window(c, value) < 0) return -1;
                break;
            case NGHTTP2_SETTINGS_MAX_FRAME_SIZE:
                if (value < MW_CLIENT_FRAME || value > 0xffffff) return fail(c, NGHTTP2_PROTOCOL_ERROR);
                break; /* larger frames than everybody takes are not sent */
        }
    }
    if (acknowledge(c, SETTINGS, NULL, 0) < 0) return -1;
    if (first) c->hooks->settings(c->context);
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

/* What the peer has not taken, others may: its owner is told first, so that no call comes back here. */
static int on_goaway(mw_client *c, int64_t last) {
    c->goaway = true;
    c->hooks->goaway(c->context);
    mw_client_close_beyond(c, last, NGHTTP2_REFUSED_STREAM);
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
        case DATA:
        case HEADERS:
        case PRIORITY:
        case RST_STREAM:
        case CONTINUATION: return id == 0;
        case SETTINGS:
        case PING:
        case GOAWAY: return id != 0;
    }
    return false;
}

static bool missized(uint8_t type, size_t size) {
    switch (type) {
        case PRIORITY: return size != 5;
        case RST_STREAM:
        case WINDOW_UPDATE: return size != 4;
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
        case PUSH_PROMISE: return fail(c, NGHTTP2_PROTOCOL_ERROR); /* SETTINGS_ENABLE_PUSH is 0 */
        case PING: return on_ping(c, flags, payload, size);
        case GOAWAY: return on_goaway(c, get32(payload) & LARGEST_ID);
        case WINDOW_UPDATE: return on_window_update(c, id, payload);
        case CONTINUATION: return on_continuation(c, flags, payload, size);
    }
    return 0; /* PRIORITY is of no use to a client, and unknown types are ignored */
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
        if (held || have < need) { /* what of the frame has come is kept, until it is whole */
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
