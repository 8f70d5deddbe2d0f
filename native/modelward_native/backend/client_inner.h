/* What the files of the client share: its buffers, the frames that wait to be written, and the lists of its streams.
 * Not for its owner: that is client.h. Section numbers are RFC 9113's (HTTP/2). */
#ifndef MW_CLIENT_INNER_H
#define MW_CLIENT_INNER_H

#include "client.h"

#include <stdlib.h>
#include <string.h>

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 32 };
enum { UNLISTED, WAITING, READY, CLOSING };
enum {
    HEAD = 9,
    WINDOW = 65535, /* before SETTINGS and WINDOW_UPDATE */
    LARGEST_WINDOW = 0x7fffffff,
    LARGEST_ID = 0x7fffffff,
    TABLE = 4096,            /* of HPACK, before SETTINGS; ours and theirs */
    INDEXED_AUTHORITY = 512, /* bytes: the pinned fields stay far below TABLE */
    BLOCK_BYTES = 65536,     /* of a header block, encoded and decoded */
    CONTINUATIONS = 8,       /* as libnghttp2 takes */
    ACKS = 256,              /* of SETTINGS and PING that wait to be written, likewise */
    KEEP_BYTES = 65536,      /* an empty buffer up to this size is kept */
    LEAST_DATA = 1024,       /* room that a DATA frame is worth beginning for */
};

/* ---- buffers ---- */

static inline bool reserve(mw_client_buffer *b, size_t more) {
    if (b->capacity - b->size >= more) return true;
    size_t capacity = b->capacity ? b->capacity : 1024;
    while (capacity - b->size < more) capacity *= 2;
    uint8_t *data = realloc(b->data, capacity);
    if (!data) return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

static inline bool append(mw_client_buffer *b, const void *data, size_t size) {
    if (!reserve(b, size)) return false;
    if (size) memcpy(b->data + b->size, data, size);
    b->size += size;
    return true;
}

static inline void emptied(mw_client_buffer *b) {
    b->size = 0;
    if (b->capacity <= KEEP_BYTES) return;
    free(b->data);
    memset(b, 0, sizeof *b);
}

static inline void put32(uint8_t *to, uint32_t x) {
    to[0] = (uint8_t)(x >> 24), to[1] = (uint8_t)(x >> 16), to[2] = (uint8_t)(x >> 8), to[3] = (uint8_t)x;
}

static inline uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void put_head(uint8_t *to, size_t size, uint8_t type, uint8_t flags, int32_t id) {
    to[0] = (uint8_t)(size >> 16), to[1] = (uint8_t)(size >> 8), to[2] = (uint8_t)size;
    to[3] = type, to[4] = flags;
    put32(to + 5, (uint32_t)id);
}

/* Want of memory for a frame ends the connection: a peer that misses one would misread all that follow. */
static inline void stage(mw_client *c, uint8_t type, uint8_t flags, int32_t id, const void *payload, size_t size) {
    if (c->failed) return;
    if (!reserve(&c->out, HEAD + size)) {
        c->failed = true;
        return;
    }
    put_head(c->out.data + c->out.size, size, type, flags, id);
    c->out.size += HEAD;
    append(&c->out, payload, size);
}

static inline void stage32(mw_client *c, uint8_t type, int32_t id, uint32_t value) {
    uint8_t payload[4];
    put32(payload, value);
    stage(c, type, 0, id, payload, 4);
}

static inline int fail(mw_client *c, uint32_t error) {
    uint8_t payload[8] = {0}; /* no stream of the peer's was ever processed: it cannot open one */
    put32(payload + 4, error);
    stage(c, GOAWAY, 0, 0, payload, 8);
    c->failed = true;
    return -1;
}

/* ---- streams ---- */

static inline mw_client_list *list_of(mw_client *c, int list) {
    return list == WAITING ? &c->waiting : list == READY ? &c->ready : &c->closing;
}

static inline void unlist(mw_client *c, mw_client_stream *s) {
    if (s->list == UNLISTED) return;
    mw_client_list *l = list_of(c, s->list);
    if (s->previous) s->previous->next = s->next;
    else l->first = s->next;
    if (s->next) s->next->previous = s->previous;
    else l->last = s->previous;
    s->previous = s->next = NULL;
    s->list = UNLISTED;
}

static inline void enlist(mw_client *c, mw_client_stream *s, int list) {
    if (s->list == list) return;
    unlist(c, s);
    mw_client_list *l = list_of(c, list);
    s->previous = l->last;
    if (l->last) l->last->next = s;
    else l->first = s;
    l->last = s;
    s->list = (uint8_t)list;
}

static inline uint32_t bucket_number(int32_t id) { return ((uint32_t)id >> 1) % MW_CLIENT_BUCKETS; }

static inline mw_client_stream **bucket_of(mw_client *c, int32_t id) { return &c->bucket[bucket_number(id)]; }

static inline mw_client_stream *find(mw_client *c, int32_t id) {
    mw_client_stream *s = *bucket_of(c, id);
    while (s && s->id != id) s = s->bucket_next;
    return s;
}

static inline void close_stream(mw_client *c, mw_client_stream *s, uint32_t error) {
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

static inline void close_all(mw_client *c) {
    while (c->closing.first) close_stream(c, c->closing.first, c->closing.first->error);
}

static inline void make_ready(mw_client *c, mw_client_stream *s) {
    if (s->id && !s->local_ended && !s->deferred && s->list == UNLISTED) enlist(c, s, READY);
}

/* ---- headers (client_headers.c) ---- */

/* A request's HEADERS, and CONTINUATIONs where one frame does not hold it. What is pinned here must be sent, in this order. */
bool mw_client_put_headers(mw_client *c, int32_t id, const char *path, size_t path_size, const uint8_t *fields,
                           size_t size);
/* An answer's whole header block. -1 for an error of the connection. */
int mw_client_take_block(mw_client *c, int32_t id, const uint8_t *in, size_t size, bool end);

/* ---- streams (client.c) ---- */

/* Closes the streams beyond `last`, and those that wait for an id. */
void mw_client_close_beyond(mw_client *c, int64_t last, uint32_t error);

#endif
