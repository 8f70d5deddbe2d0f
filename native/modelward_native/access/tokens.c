#include "tokens.h"

#include <string.h>

#include "sip.h"

_Static_assert(sizeof(mw_token) == 32, "half a cache line");

static size_t entries(const mw_tokens *table) { return (table->mask + 1) * MW_TOKEN_WAYS; }

size_t mw_tokens_size(uint64_t tokens) {
    if (tokens == 0 || tokens > UINT64_C(1) << 24) return 0;
    uint64_t buckets = 1;
    while (buckets * MW_TOKEN_WAYS < tokens) buckets *= 2;
    return buckets * MW_TOKEN_WAYS * sizeof(mw_token);
}

void mw_tokens_init(mw_tokens *table, void *memory, size_t size, const uint64_t sip_key[2]) {
    table->token = memory;
    table->mask = size / (MW_TOKEN_WAYS * sizeof(mw_token)) - 1;
    table->sip_key[0] = sip_key[0];
    table->sip_key[1] = sip_key[1];
}

void mw_tokens_hash(const mw_tokens *table, uint64_t kind, const void *credential, size_t size, uint64_t hash[2]) {
    uint64_t v[4], word;
    const uint8_t *at = credential;
    size_t left = size;
    mw_sip_begin(v, table->sip_key);
    v[1] ^= 0xee;
    mw_sip_word(v, kind, 2);
    for (; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        mw_sip_word(v, word, 2);
    }
    word = 0;
    if (left) memcpy(&word, at, left);
    mw_sip_word(v, word | (uint64_t)(size + 8) << 56, 2);
    v[2] ^= 0xee;
    for (int i = 0; i < 4; i++) mw_sip_round(v);
    hash[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    for (int i = 0; i < 4; i++) mw_sip_round(v);
    hash[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
    if ((hash[0] | hash[1]) == 0) hash[0] = 1;
}

static mw_token *bucket_of(const mw_tokens *table, const uint64_t hash[2]) {
    return &table->token[(hash[0] & table->mask) * MW_TOKEN_WAYS];
}

static int is(const mw_token *token, const uint64_t hash[2]) {
    return token->hash[0] == hash[0] && token->hash[1] == hash[1];
}

mw_token *mw_tokens_find(const mw_tokens *table, const uint64_t hash[2], int64_t now_ns) {
    mw_token *bucket = bucket_of(table, hash);
    for (int way = 0; way < MW_TOKEN_WAYS; way++)
        if (is(&bucket[way], hash)) {
            if (bucket[way].expires_ns <= now_ns) return NULL;
            if (!bucket[way].used) bucket[way].used = 1;
            return &bucket[way];
        }
    return NULL;
}

static mw_token *chosen(mw_token *bucket, const uint64_t hash[2], int64_t now_ns) {
    mw_token *idle = NULL;
    for (int way = 0; way < MW_TOKEN_WAYS; way++)
        if (is(&bucket[way], hash)) return &bucket[way];
    for (int way = 0; way < MW_TOKEN_WAYS; way++) {
        if (bucket[way].expires_ns <= now_ns) return &bucket[way];
        if (!bucket[way].used) idle = &bucket[way];
    }
    if (idle) return idle;
    for (int way = 0; way < MW_TOKEN_WAYS; way++) bucket[way].used = 0;
    return &bucket[hash[1] % MW_TOKEN_WAYS];
}

void mw_tokens_put(mw_tokens *table, const uint64_t hash[2], uint32_t owner, uint32_t stamp, int64_t expires_ns,
                   int64_t now_ns) {
    mw_token *token = chosen(bucket_of(table, hash), hash, now_ns);
    *token = (mw_token){.hash = {hash[0], hash[1]}, .expires_ns = expires_ns, .owner = owner, .stamp = stamp};
}

void mw_tokens_clear(mw_tokens *table) { memset(table->token, 0, entries(table) * sizeof(mw_token)); }

size_t mw_tokens_count(const mw_tokens *table, int64_t now_ns) {
    size_t count = 0;
    for (size_t i = 0; i < entries(table); i++) count += table->token[i].expires_ns > now_ns;
    return count;
}
