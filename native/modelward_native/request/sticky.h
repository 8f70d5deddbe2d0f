/* Which of several weighted versions a caller gets. The same key gets the same one as long as weights stay, and a version
 * whose share only grows keeps all its callers: its part of [0, 1) is the lowest, so that it grows at one end.
 *
 * Keys are hashes under a secret of the server (modelward_native.limits.limit.Limiter.sticky), so that no client works out which value of a
 * header reaches a version. By trial a client can: what it sends is evidence within bounds alone (modelward_native/shadow/evidence.pyx). */
#ifndef MODELWARD_STICKY_H
#define MODELWARD_STICKY_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t mw_sticky_mix(uint64_t h) {
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

/* FNV-1a, then the finaliser of MurmurHash3: of a model's name. */
static inline uint64_t mw_sticky(const void *data, size_t size) {
    const uint8_t *byte = (const uint8_t *)data;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) h = (h ^ byte[i]) * UINT64_C(0x100000001b3);
    h = mw_sticky_mix(h);
    return h ? h : 1;
}

/* Index of a weight, as likely as its share of the total; the last indices have the lowest parts of [0, 1). total: of all
 * weights, above 0. salt: of the model, so that the first callers of one canary are not those of every other. */
static inline uint32_t mw_sticky_choose(uint64_t key, uint64_t salt, const uint32_t *weight, uint32_t count,
                                        uint32_t total) {
    uint32_t point = (uint32_t)((mw_sticky_mix(key ^ salt) >> 32) * total >> 32), i = count - 1;
    while (i > 0 && point >= weight[i]) point -= weight[i--];
    return i;
}

#endif
