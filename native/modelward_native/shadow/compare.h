/* Two answers to one request, compared by their tensors: no clock, no allocation, a bounded amount of work.
 *
 * Outputs are paired by name. An output says labels where it is of integers, booleans or strings (each value is one) or of
 * floating-point scores with a batch in front and more than one number in its last axis (the largest of a row is its label).
 * A pair of answers disagrees by the share of labels that differ; where no output says one, by the share of numbers that
 * are further apart than the tolerance; and wholly where the shadow's answer has another form: not readable, an output
 * missing, of another datatype or shape. */
#ifndef MODELWARD_COMPARE_H
#define MODELWARD_COMPARE_H

#include "histogram.h"
#include "oip.h"

enum {
    MW_COMPARE_OUTPUTS = 32,         /* of the primary are compared */
    MW_COMPARE_ELEMENTS = 4096,      /* of either side of a pair are read, over all outputs */
    MW_COMPARE_WIRE = 40 * 1024,     /* bytes of an answer beside its raw contents, more of which make it unreadable */
    MW_COMPARE_SCORES = 16,          /* scores of a pair that go into window and histograms: of its first rows */
    /* Raw form of as many typed elements: at most eight bytes each, or strings with a length before each. */
    MW_COMPARE_TYPED = MW_COMPARE_WIRE + 4 * MW_COMPARE_ELEMENTS,
};

/* Where answers are taken apart: 290 KB, of which an ordinary pair touches a few hundred bytes. One per process, its
 * owner's; nothing in it outlives a call. */
typedef struct {
    mw_scan primary, shadow;
    uint8_t primary_typed[MW_COMPARE_TYPED], shadow_typed[MW_COMPARE_TYPED];
} mw_compare_room;

typedef enum {
    MW_COMPARED = 0,
    MW_PRIMARY_UNREADABLE,  /* no pair: says nothing of the shadow */
    MW_SHADOW_UNREADABLE,   /* disagrees wholly */
} mw_comparison_status;

/* What one pair says. Counts are of this pair. */
typedef struct {
    mw_comparison_status status;
    uint32_t outputs;                /* compared by their elements */
    uint32_t missing;                /* outputs of the primary that the shadow has not */
    uint32_t extra;                  /* outputs that only the shadow has */
    uint32_t datatype, shape;        /* outputs that differ in it; their elements are not compared */
    uint32_t unreadable;             /* outputs of the shadow whose contents do not fill their shape */
    uint32_t labels, labels_differ;
    uint32_t numbers;                /* floating-point elements */
    uint32_t differences;            /* of them, finite on both sides or equal: what the four figures below are of */
    uint32_t beyond;                 /* of them, further apart than the tolerance, or NaN or infinite on one side */
    uint32_t nan_primary, nan_shadow, nan_both;  /* of them, NaN on that side alone, or on both (which is agreement) */
    uint64_t unseen;                 /* the primary's elements past the bounds above */
    double disagreement;             /* 0 to 1 */
    double absolute_sum, absolute_max;  /* |primary - shadow| */
    double relative_sum, relative_max;  /* that by the larger of the two, 0 where both are 0: at most 2 */
    /* One number per row of the primary's first floating-point output: the only one, the second of two, or of more the
     * one at the primary's label. Finite on both sides. */
    uint32_t scores;
    double score_primary[MW_COMPARE_SCORES], score_shadow[MW_COMPARE_SCORES];
} mw_comparison;

/* Compares the encoded ModelInferResponses; tolerance: the relative difference up to which numbers agree.
 * Reads at most MW_COMPARE_WIRE bytes of either beside raw contents, and of these MW_COMPARE_ELEMENTS elements. */
void mw_compare_pair(mw_span primary, mw_span shadow, double tolerance, mw_compare_room *room, mw_comparison *out);

/* ---- figures: sums over pairs ---- */

/* A cell of a score: near zero, or sign, octave and quarter of the octave, from 2^-12 to 2^12; what lies beyond is in the
 * outermost. Ascending: [-MW_SCORE_HALF .. -1] negative, 0 near zero, positive; stored from MW_SCORE_HALF on. */
enum { MW_SCORE_OCTAVES = 24, MW_SCORE_LEAST = -12, MW_SCORE_HALF = 4 * MW_SCORE_OCTAVES, MW_SCORE_CELLS = 2 * MW_SCORE_HALF + 1 };

/* Why a request that was to be mirrored was not, or why its pair was given up: none of these is a pair. */
typedef enum {
    MW_DROP_WAITING = 0,  /* somebody waited before the model's gate */
    MW_DROP_PLACES,       /* the shadow had all of its places */
    MW_DROP_BYTES,        /* or of its bytes */
    MW_DROP_BUSY,         /* the loop, or the machine, had no time to spare */
    MW_DROP_YIELDED,      /* begun, and not done in time while there was none to spare */
    MW_DROP_VOID,         /* the primary's time was cut short, or its answer cannot be compared */
    MW_DROP_DEADLINE,     /* its client gave less time than the primary usually takes */
    MW_DROPS
} mw_shadow_drop;

/* Zeroed memory is none. One writer; a reader on another thread or process sees each field whole. 7.2 KB. Every field is a
 * sum over pairs but the two maxima; sums of shares stay at most their count, for rounding is monotone. */
typedef struct {
    uint64_t compared;
    uint64_t primary_failed, shadow_failed, both_failed;  /* pairs that ended so: not compared */
    double disagreement;           /* sum of shares */
    uint64_t disagreeing;          /* pairs with disagreement > 0 */
    uint64_t unreadable_answers;   /* of the shadow */
    uint64_t missing, extra, datatype, shape, unreadable;
    uint64_t labels, labels_differ;
    uint64_t numbers, differences, beyond;
    uint64_t nan_primary, nan_shadow, nan_both;
    uint64_t unseen;
    double absolute_sum, absolute_max, relative_sum, relative_max;
    uint64_t dropped[MW_DROPS];
    uint64_t score_primary[MW_SCORE_CELLS], score_shadow[MW_SCORE_CELLS];
    mw_histogram latency_primary, latency_shadow;  /* of pairs that were answered on both sides, ns */
} mw_shadow_figures;

void mw_shadow_record(mw_shadow_figures *f, const mw_comparison *c, int64_t primary_ns, int64_t shadow_ns);
void mw_shadow_add(mw_shadow_figures *to, const mw_shadow_figures *from);

/* A pair that was not answered on both sides. Both answered: nothing. */
static inline void mw_shadow_fail(mw_shadow_figures *f, int primary_failed, int shadow_failed) {
    if (primary_failed && shadow_failed) f->both_failed++;
    else if (primary_failed) f->primary_failed++;
    else if (shadow_failed) f->shadow_failed++;
}

/* NaN is in the outermost positive one. */
unsigned mw_score_cell(double score);

/* ---- one answer's scores ---- */

enum {
    MW_SKETCH_ELEMENTS = 64,       /* of an answer are read: of a longer row the first so many stand for it */
    MW_SKETCH_ANSWER = 720720,     /* what an answer adds, spread evenly over its scores: every number up to 16 divides it */
};

/* Adds one encoded ModelInferResponse to the cells of its scores: of the first rows of its first floating-point output, as
 * above (infinite and NaN ones too), or where it has none the labels of its first output, strings by their size and the
 * eight bytes at either end. Rows of one answer may be alike, so that an answer, however many it has, counts as one
 * observation. At most 0.15 us. Returns 0 where no score is found. */
int mw_sketch_add(uint64_t cells[MW_SCORE_CELLS], mw_span answer, mw_compare_room *room);

/* The last scores of both sides, for rank correlation: 16 KB, one writer. A reader may see one pair half written. */
enum { MW_SHADOW_WINDOW = 1024 };
typedef struct {
    uint64_t written;              /* ever; the next goes to written % MW_SHADOW_WINDOW */
    double primary[MW_SHADOW_WINDOW], shadow[MW_SHADOW_WINDOW];
} mw_shadow_window;

void mw_window_record(mw_shadow_window *w, const mw_comparison *c);

#endif
