/* SipHash's state and its round: "SipHash: a fast short-input PRF", Aumasson and Bernstein, INDOCRYPT 2012, section 2. How
 * many rounds a word and the end get is the caller's: 1 and 3 for a hash table that strangers may fill, 2 and 4 where a
 * collision would mistake one caller for another. */
#ifndef MODELWARD_SIP_H
#define MODELWARD_SIP_H

#include <stdint.h>

static inline uint64_t mw_rotated(uint64_t x, int by) { return x << by | x >> (64 - by); }

static inline void mw_sip_begin(uint64_t v[4], const uint64_t key[2]) {
    v[0] = key[0] ^ UINT64_C(0x736f6d6570736575);
    v[1] = key[1] ^ UINT64_C(0x646f72616e646f6d);
    v[2] = key[0] ^ UINT64_C(0x6c7967656e657261);
    v[3] = key[1] ^ UINT64_C(0x7465646279746573);
}

static inline void mw_sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = mw_rotated(v[1], 13);
    v[1] ^= v[0];
    v[0] = mw_rotated(v[0], 32);
    v[2] += v[3];
    v[3] = mw_rotated(v[3], 16);
    v[3] ^= v[2];
    v[0] += v[3];
    v[3] = mw_rotated(v[3], 21);
    v[3] ^= v[0];
    v[2] += v[1];
    v[1] = mw_rotated(v[1], 17);
    v[1] ^= v[2];
    v[2] = mw_rotated(v[2], 32);
}

static inline void mw_sip_word(uint64_t v[4], uint64_t word, int rounds) {
    v[3] ^= word;
    for (int i = 0; i < rounds; i++) mw_sip_round(v);
    v[0] ^= word;
}

#endif
