/* What one client has cost us on its connection beyond what its requests are worth: frames that carry nothing, and
 * streams that end before their time. Two debts, each kept as GCRA keeps one (gcra.h): the moment, in monotonic
 * ns, until which it is paid off. Time and bytes are arguments; nothing is allocated, and nothing here knows HTTP/2's states.
 *
 * Frames are counted off the raw bytes, before nghttp2 sees them: it drops many of them (payloads for closed streams,
 * unknown types) without a callback, and a flood must be cut before it is decoded.
 *
 * What it defends against: CVE-2019-9511 to -9518 (floods of control frames, empty frames, windows opened a byte at a
 * time), CVE-2024-27316 (endless CONTINUATION), CVE-2023-44487 and CVE-2025-8671 (streams reset, by either side). */
#ifndef MODELWARD_FLOOD_H
#define MODELWARD_FLOOD_H

#include <stddef.h>
#include <stdint.h>

enum {
    MW_FRAME_NS = 2500000, /* one pending frame is forgotten after this time: 400 a second */
    MW_FRAME_BURST = 4000, /* most frames pending before a connection is a flood; and most budget saved up, in frames */
    MW_FRAME_BYTES = 256,  /* payload of DATA, either way, that pays for one frame */
    MW_BLOCK_BYTES = 64,   /* of a header block: decoding them costs as much as a frame */
    MW_WORTH_REQUEST = 8,  /* frames: HEADERS, DATA, END_STREAM, and what a client says meanwhile */
    MW_WORTH_MESSAGE = 4,  /* either way: DATA, WINDOW_UPDATE twice, PING */

    MW_RESET_NS = 30303030, /* one reset is forgotten after this time: 33 a second, as nghttp2 has it */
    MW_RESET_BURST = 1000,
    MW_RESET_FAULT = 10, /* a reset that the client's error makes us send counts as this many of its own */

    MW_PREFACE_BYTES = 24,
    MW_FRAME_HEAD = 9,
};

typedef struct {
    int64_t frames_ns; /* when the frames are forgotten; in the past: saved up */
    int64_t resets_ns;
    uint32_t skip; /* bytes of the payload that is passing */
    uint8_t have;  /* bytes of `head` so far */
    uint8_t head[MW_FRAME_HEAD];
} mw_flood;

static inline void mw_flood_init(mw_flood *c, int64_t now_ns) {
    c->frames_ns = c->resets_ns = now_ns;
    c->skip = MW_PREFACE_BYTES;
    c->have = 0;
}

/* DATA costs a frame and is worth its payload; header blocks cost by their size; anything else costs a frame. */
static inline int64_t mw_frame_cost_ns(uint8_t type, uint32_t length) {
    if (type == 0) return MW_FRAME_NS - (int64_t)length * (MW_FRAME_NS / MW_FRAME_BYTES);
    if (type == 1 || type == 5 || type == 9) return MW_FRAME_NS + (int64_t)length * (MW_FRAME_NS / MW_BLOCK_BYTES);
    return MW_FRAME_NS;
}

/* Counts the frames that begin in these bytes, which follow those of the call before. Returns 1 once too many are pending.
 * About 3 ns a frame. */
static inline int mw_flood_read(mw_flood *c, const uint8_t *data, size_t size, int64_t now_ns) {
    const uint8_t *end = data + size;
    int64_t saved = now_ns - (int64_t)MW_FRAME_BURST * MW_FRAME_NS, debt = c->frames_ns;
    if (debt < saved) debt = saved;
    while (data < end) {
        size_t left = (size_t)(end - data);
        if (c->skip) {
            size_t n = c->skip < left ? c->skip : left;
            c->skip -= (uint32_t)n;
            data += n;
            continue;
        }
        c->head[c->have++] = *data++;
        if (c->have == MW_FRAME_HEAD) {
            c->have = 0;
            c->skip = (uint32_t)c->head[0] << 16 | (uint32_t)c->head[1] << 8 | c->head[2];
            debt += mw_frame_cost_ns(c->head[3], c->skip);
        }
    }
    c->frames_ns = debt;
    return debt - now_ns > (int64_t)MW_FRAME_BURST * MW_FRAME_NS;
}

/* A request has begun whose header block had `block` bytes. */
static inline void mw_flood_request(mw_flood *c, size_t block) {
    c->frames_ns -= (int64_t)MW_WORTH_REQUEST * MW_FRAME_NS + (int64_t)block * (MW_FRAME_NS / MW_BLOCK_BYTES);
}

/* A message is whole, from the client or on its way to it. */
static inline void mw_flood_message(mw_flood *c) { c->frames_ns -= (int64_t)MW_WORTH_MESSAGE * MW_FRAME_NS; }

/* Payload that the client has let us send: it answers with windows. */
static inline void mw_flood_sent(mw_flood *c, size_t bytes) {
    c->frames_ns -= (int64_t)bytes * (MW_FRAME_NS / MW_FRAME_BYTES);
}

/* A stream was reset: weight 1 by the client, MW_RESET_FAULT by us. Returns 1 once there are too many. */
static inline int mw_flood_reset(mw_flood *c, int weight, int64_t now_ns) {
    if (c->resets_ns < now_ns) c->resets_ns = now_ns;
    c->resets_ns += (int64_t)weight * MW_RESET_NS;
    return c->resets_ns - now_ns > (int64_t)MW_RESET_BURST * MW_RESET_NS;
}

/* Resets not forgotten at this moment. */
static inline int64_t mw_flood_resets(const mw_flood *c, int64_t now_ns) {
    return c->resets_ns > now_ns ? (c->resets_ns - now_ns) / MW_RESET_NS : 0;
}

#endif
