/* What lies in a ring of observations: what a source is, and requests of it. Each part begins at a multiple of 8 bytes. */
#ifndef MODELWARD_OBSERVE_RECORD_H
#define MODELWARD_OBSERVE_RECORD_H

#include "ring.h"

enum {
    MW_OBSERVED_ROWS = 256, /* of a request; of a larger one, one of each stretch of so many */
    MW_OBSERVED_ID = 128,   /* bytes of a request's id; a longer one is left out, for a part of it is another id */
    MW_OBSERVED_EVIDENCE = 6,
};

typedef enum {
    MW_OBSERVED_SOURCE = 1, /* mw_observed_source, then JSON: comes before the source's first request */
    MW_OBSERVED_REQUEST,    /* mw_observed, then the parts that it gives the sizes of, in their order */
} mw_observed_kind;

typedef enum { MW_BY_MODEL = 0, MW_BY_FALLBACK, MW_REFUSED } mw_answered_by;

/* Why a part of a request is not there. */
typedef enum {
    MW_CUT_INPUTS = 1, /* too large */
    MW_CUT_ANSWER = 2, /* too large */
    MW_CUT_SCORES = 4, /* its inputs have not the shapes that the profile was fitted on */
} mw_observed_cut;

typedef struct {
    mw_ring_head head;
    uint32_t source; /* the worker's number for it */
    uint32_t size;   /* of the JSON */
} mw_observed_source;

/* One request that has ended. */
typedef struct {
    mw_ring_head head;
    uint32_t source;
    uint32_t chance;   /* it was chosen since this random number is at most the source's share of 2^32 - 1 */
    int64_t at;        /* monotonic ns */
    int64_t took;      /* ns, from the headers to the end */
    uint64_t identity; /* keyed hash of the caller's name, or of its peer where it has none */
    int64_t total_rows;
    uint64_t unasked; /* outputs that its client did not ask for as they are declared: a bit for each, the last for all
                         from the 64th on */
    double score, p_value;                /* of the most unusual row that is here; NAN without scores */
    float evidence[MW_OBSERVED_EVIDENCE]; /* nats against its identity, by signal */
    uint8_t trace[16];
    uint32_t rows, features,
        columns; /* rows that are here, and what each has; rows is 0 where the request was not decoded */
    uint32_t id_size, inputs_size, answer_size;
    uint8_t caller; /* first letter of what proved the identity; 0: there is none, and `identity` is of a peer */
    uint8_t traced;
    uint8_t answered_by;     /* mw_answered_by */
    uint8_t reason;          /* of the refusal */
    uint8_t fallback_reason; /* for which a fallback answered */
    uint8_t flagged;
    uint8_t step; /* that the identity was restricted to; 0 none */
    uint8_t cut;  /* mw_observed_cut, or-ed */
} mw_observed;
/* id[id_size], mw_observed_row[rows], float features[rows][features], uint64_t categories[rows][columns], inputs, answer.
 * features: raw, as the profile's features are before they are standardised. categories: mw_category_hash.
 * inputs: for each of the model's inputs a mw_observed_tensor, its dimensions, its bytes. answer: a ModelInferResponse. */

typedef struct {
    double score, p_value; /* NAN without scores */
    uint32_t row;          /* index in the request */
    uint32_t flags;        /* mw_score_flag, or-ed */
    int32_t cell;          /* of the profile that is nearest; -1 for none */
    uint32_t unused;
} mw_observed_row;

typedef struct {
    uint32_t dtype, rank; /* mw_dtype; rank dimensions (int64_t) follow, then the bytes */
    uint64_t size;
} mw_observed_tensor;

static inline uint64_t mw_padded(uint64_t size) { return (size + 7) & ~(uint64_t)7; }

/* FNV-1a of the elements of one row of one category column, each with its length before it. */
static inline uint64_t mw_category_hash(uint64_t before, const uint8_t *element, uint32_t size) {
    uint64_t h = before ? before : 0xcbf29ce484222325u;
    for (int i = 0; i < 4; i++) h = (h ^ (size >> 8 * i & 255)) * 0x100000001b3u;
    for (uint32_t i = 0; i < size; i++) h = (h ^ element[i]) * 0x100000001b3u;
    return h;
}

#endif
