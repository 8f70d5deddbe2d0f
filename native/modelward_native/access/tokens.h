/* Credentials that were checked not long ago: a table of fixed size from a keyed hash of the credential to whose it is.
 *
 * The credential itself is not kept. Its hash is SipHash-2-4 with 128 bits of output under a random key of this process
 * (sip.h names the paper; the output's second half as in the authors' reference): two credentials with one hash would be
 * one caller, so that neither a search beforehand nor one by trial may find any.
 *
 * A bucket holds four. A full one gives up an entry that has expired, else one that was not asked for since the bucket
 * last had to choose: whoever makes many tokens and uses each once replaces their own, not those in use. To lose an entry
 * costs one more check of its credential, and nothing else. One thread at a time; time in monotonic nanoseconds. */
#ifndef MODELWARD_TOKENS_H
#define MODELWARD_TOKENS_H

#include <stddef.h>
#include <stdint.h>

enum { MW_TOKEN_WAYS = 4 };

typedef struct {
    uint64_t hash[2]; /* both 0: never used */
    int64_t expires_ns;
    uint32_t owner : 31; /* what the table's user makes of it */
    uint32_t used : 1;   /* asked for since its bucket last had to choose */
    uint32_t stamp;      /* of the owner when it was written: the user compares it with the owner's of now */
} mw_token;

typedef struct {
    mw_token *token; /* the caller's memory, zeroed before mw_tokens_init */
    uint64_t mask;   /* number of buckets - 1 */
    uint64_t sip_key[2];
} mw_tokens;

/* Bytes of a table for at least so many tokens, 1 to 2^24; 0 for any other number. */
size_t mw_tokens_size(uint64_t tokens);
void mw_tokens_init(mw_tokens *table, void *memory, size_t size, const uint64_t sip_key[2]);
/* kind: of credential; the same bytes of another kind are another credential. */
void mw_tokens_hash(const mw_tokens *table, uint64_t kind, const void *credential, size_t size, uint64_t hash[2]);
/* NULL where it is unknown or has expired. The entry stays where it is until the next put or clear. */
mw_token *mw_tokens_find(const mw_tokens *table, const uint64_t hash[2], int64_t now_ns);
void mw_tokens_put(mw_tokens *table, const uint64_t hash[2], uint32_t owner, uint32_t stamp, int64_t expires_ns,
                   int64_t now_ns);
void mw_tokens_clear(mw_tokens *table);
/* How many have not expired. Reads the whole table. */
size_t mw_tokens_count(const mw_tokens *table, int64_t now_ns);

#endif
