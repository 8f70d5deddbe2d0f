/* What the pairs of a shadow have said: sums over them, and the scores of the last. */
#ifndef MODELWARD_SHADOW_STATS_H
#define MODELWARD_SHADOW_STATS_H

#include "compare.h"
#include "histogram.h"
#include "score_cell.h"

/* Why a request that was to be mirrored was not, or why its pair was given up: none of these is a pair. */
typedef enum {
    MW_DROP_WAITING = 0, /* requests waited before the model's gate */
    MW_DROP_PERMITS,     /* the shadow had all of its permits */
    MW_DROP_BYTES,       /* or of its bytes */
    MW_DROP_BUSY,        /* the loop, or the machine, had no time to spare */
    MW_DROP_YIELDED,     /* begun, and not done in time while there was none to spare */
    MW_DROP_VOID,        /* the primary's time was cut short, or its answer cannot be compared */
    MW_DROP_DEADLINE,    /* its client gave less time than the primary usually takes */
    MW_DROPS
} mw_shadow_drop;

/* Zeroed memory is none. One writer; a reader on another thread or process sees each field whole. 7.2 KB. Every field is a
 * sum over pairs but the two maxima; sums of shares stay at most their count, for rounding is monotone. */
typedef struct {
    uint64_t compared;
    uint64_t primary_failed, shadow_failed, both_failed; /* pairs that ended so: not compared */
    double disagreement;                                 /* sum of shares */
    uint64_t disagreeing;                                /* pairs with disagreement > 0 */
    uint64_t unreadable_answers;                         /* of the shadow */
    uint64_t missing, extra, datatype, shape, unreadable;
    uint64_t labels, labels_differ;
    uint64_t numbers, differences, beyond;
    uint64_t nan_primary, nan_shadow, nan_both;
    uint64_t unseen;
    double absolute_sum, absolute_max, relative_sum, relative_max;
    uint64_t dropped[MW_DROPS];
    uint64_t score_primary[MW_SCORE_CELLS], score_shadow[MW_SCORE_CELLS];
    mw_histogram latency_primary, latency_shadow; /* of pairs that were answered on both sides, ns */
} mw_shadow_stats;

void mw_shadow_record(mw_shadow_stats *f, const mw_comparison *c, int64_t primary_ns, int64_t shadow_ns);
void mw_shadow_add(mw_shadow_stats *to, const mw_shadow_stats *from);

/* A pair that was not answered on both sides. Both answered: nothing. */
static inline void mw_shadow_fail(mw_shadow_stats *f, int primary_failed, int shadow_failed) {
    if (primary_failed && shadow_failed) f->both_failed++;
    else if (primary_failed) f->primary_failed++;
    else if (shadow_failed) f->shadow_failed++;
}

/* The last scores of both sides, for rank correlation: 16 KB, one writer. A reader may see one pair half written. */
enum { MW_SHADOW_WINDOW = 1024 };
typedef struct {
    uint64_t written; /* ever; the next goes to written % MW_SHADOW_WINDOW */
    double primary[MW_SHADOW_WINDOW], shadow[MW_SHADOW_WINDOW];
} mw_shadow_window;

void mw_window_record(mw_shadow_window *w, const mw_comparison *c);

#endif
