/* Two answers to one request, compared by their tensors: no clock, no allocation, a bounded amount of work.
 *
 * Outputs are paired by name. An output says labels where it is of integers, booleans or strings (each value is one) or of
 * floating-point scores with a batch in front and more than one number in its last axis (the largest of a row is its label).
 * A pair of answers disagrees by the share of labels that differ; where no output says one, by the share of numbers that
 * are further apart than the tolerance; and wholly where the shadow's answer has another form: not readable, an output
 * missing, of another datatype or shape. */
#ifndef MODELWARD_COMPARE_H
#define MODELWARD_COMPARE_H

#include "oip.h"
#include "answer_output.h"

enum {
    MW_COMPARE_OUTPUTS = 32, /* of the primary are compared */
    MW_COMPARE_SCORES = 16,  /* scores of a pair that go into window and histograms: of its first rows */
};

/* Where answers are taken apart: 290 KB, of which an ordinary pair touches a few hundred bytes. One per process, its
 * owner's; nothing in it outlives a call. */
typedef struct {
    mw_scan primary, shadow;
    uint8_t primary_typed[MW_COMPARE_TYPED], shadow_typed[MW_COMPARE_TYPED];
} mw_compare_scratch;

typedef enum {
    MW_COMPARED = 0,
    MW_PRIMARY_UNREADABLE, /* no pair: says nothing of the shadow */
    MW_SHADOW_UNREADABLE,  /* disagrees wholly */
} mw_comparison_status;

/* What one pair says. Counts are of this pair. */
typedef struct {
    mw_comparison_status status;
    uint32_t outputs;         /* compared by their elements */
    uint32_t missing;         /* outputs of the primary that the shadow has not */
    uint32_t extra;           /* outputs that only the shadow has */
    uint32_t datatype, shape; /* outputs that differ in it; their elements are not compared */
    uint32_t unreadable;      /* outputs of the shadow whose contents do not fill their shape */
    uint32_t labels, labels_differ;
    uint32_t numbers;     /* floating-point elements */
    uint32_t differences; /* of them, finite on both sides or equal: what the four below are of */
    uint32_t beyond;      /* of them, further apart than the tolerance, or NaN or infinite on one side */
    uint32_t nan_primary, nan_shadow, nan_both; /* of them, NaN on that side alone, or on both (which is agreement) */
    uint64_t unseen;                            /* the primary's elements past the bounds above */
    double disagreement;                        /* 0 to 1 */
    double absolute_sum, absolute_max;          /* |primary - shadow| */
    double relative_sum, relative_max;          /* that by the larger of the two, 0 where both are 0: at most 2 */
    /* One number per row of the primary's first floating-point output: the only one, the second of two, or of more the
     * one at the primary's label. Finite on both sides. */
    uint32_t scores;
    double score_primary[MW_COMPARE_SCORES], score_shadow[MW_COMPARE_SCORES];
} mw_comparison;

/* Compares the encoded ModelInferResponses; tolerance: the relative difference up to which numbers agree.
 * Reads at most MW_COMPARE_WIRE bytes of either beside raw contents, and of these MW_COMPARE_ELEMENTS elements. */
void mw_compare_pair(mw_span primary, mw_span shadow, double tolerance, mw_compare_scratch *scratch,
                     mw_comparison *out);

#endif
