/* How large a model's answer will be: bytes per row of its request, learned from answers.
 *
 * Arithmetic only. A maximum that decays: a larger answer raises it at once, any other lowers it by a part of the
 * difference, so that a model whose answers vary counts as about the largest of its last MW_ANSWER_MEMORY. */
#ifndef MODELWARD_ANSWER_H
#define MODELWARD_ANSWER_H

#include <stdint.h>

enum { MW_ANSWER_MEMORY = 16 };

#define MW_ANSWER_UNKNOWN UINT64_C(262144) /* bytes; of a model that has not answered */
#define MW_ANSWER_MOST (UINT64_C(1) << 31) /* protobuf's own bound for a message */

typedef struct {
    uint64_t per_row; /* bytes; 0 before the first answer */
} mw_answers;

/* Bytes, 1 to MW_ANSWER_MOST. rows: of the request; fewer than one count as one. */
static inline uint64_t mw_answer_predict(const mw_answers *a, int64_t rows) {
    uint64_t n = rows < 1 ? 1 : (uint64_t)rows;
    if (!a->per_row) return MW_ANSWER_UNKNOWN;
    return a->per_row > MW_ANSWER_MOST / n ? MW_ANSWER_MOST : a->per_row * n;
}

static inline void mw_answer_learn(mw_answers *a, uint64_t bytes, int64_t rows) {
    uint64_t n = rows < 1 ? 1 : (uint64_t)rows;
    uint64_t sample = bytes < 1 ? 1 : bytes > MW_ANSWER_MOST ? MW_ANSWER_MOST : bytes / n + (bytes % n != 0);
    if (sample >= a->per_row) a->per_row = sample;
    else a->per_row -= (a->per_row - sample + MW_ANSWER_MEMORY - 1) / MW_ANSWER_MEMORY;
}

#endif
