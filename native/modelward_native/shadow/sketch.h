/* The scores of one answer, by cell: what a version's answers look like, without their pairs. */
#ifndef MODELWARD_SKETCH_H
#define MODELWARD_SKETCH_H

#include "compare.h"
#include "score_cell.h"

enum {
    MW_SKETCH_ELEMENTS = 64, /* of an answer are read: of a longer row the first ones stand for it */
    MW_SKETCH_ANSWER =
        720720, /* what an answer adds, spread evenly over its scores: every number up to 16 divides it */
};

/* Adds one encoded ModelInferResponse to the cells of its scores: of the first rows of its first floating-point output, as
 * above (infinite and NaN ones too), or where it has none the labels of its first output, strings by their size and the
 * eight bytes at either end. Rows of one answer may be alike, so that an answer, however many it has, counts as one
 * observation. At most 0.15 us. Returns 0 where no score is found. */
int mw_sketch_add(uint64_t cells[MW_SCORE_CELLS], mw_span answer, mw_compare_scratch *scratch);

#endif
