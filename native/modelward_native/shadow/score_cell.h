/* Cells of scores: a histogram of numbers of either sign, by octave and quarter of it. */
#ifndef MODELWARD_SCORE_CELL_H
#define MODELWARD_SCORE_CELL_H

#include <stdint.h>
#include <string.h>

/* A cell of a score: near zero, or sign, octave and quarter of the octave, from 2^-12 to 2^12; what lies beyond is in the
 * outermost. Ascending: [-MW_SCORE_HALF .. -1] negative, 0 near zero, positive; stored from MW_SCORE_HALF on. */
enum {
    MW_SCORE_OCTAVES = 24,
    MW_SCORE_LEAST = -12,
    MW_SCORE_HALF = 4 * MW_SCORE_OCTAVES,
    MW_SCORE_CELLS = 2 * MW_SCORE_HALF + 1
};

/* Cell of a score; NaN is in the outermost positive one. Exponent and two bits of fraction are neighbours in a double, so that their place is one shift. */
static inline unsigned mw_score_cell(double score) {
    uint64_t bits;
    double size = __builtin_fabs(score);
    memcpy(&bits, &size, sizeof bits);
    int64_t place = (int64_t)(bits >> 50) - 4 * (1023 + MW_SCORE_LEAST);
    if (place < 0) return MW_SCORE_HALF;
    if (place >= MW_SCORE_HALF) place = MW_SCORE_HALF - 1;
    return (unsigned)(score < 0 ? MW_SCORE_HALF - 1 - place : MW_SCORE_HALF + 1 + place);
}

#endif
