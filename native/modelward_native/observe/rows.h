/* The rows of a request as a profile sees them, once more, for those requests that are observed. */
#ifndef MODELWARD_OBSERVE_ROWS_H
#define MODELWARD_OBSERVE_ROWS_H

#include "record.h"
#include "score.h"

/* The same profile with mean 0 and scale 1, so that what is gathered stays raw. ones, zeros: [p->features]. */
static inline mw_profile mw_raw_profile(const mw_profile *p, const double *zeros, const double *ones) {
    mw_profile raw = *p;
    raw.mean = zeros;
    raw.inverse_scale = ones;
    return raw;
}

/* Fills `count` rows, of `rows` in the request one of every `step` (chosen_rows.h): out, features [count][f], categories [count][c]. row: room for two
 * rows (mw_score_row_size), scratch: mw_score_scratch_size. Returns how many were filled: all, or none where the tensors are
 * not what the profile was fitted on. A BYTES element is read within its tensor alone. */
uint32_t mw_observe_rows(const mw_profile *p, const mw_profile *raw, const mw_view *view, int64_t rows, uint32_t count,
                         int64_t step, uint64_t seed, float *row, float *scratch, mw_observed_row *out, float *features,
                         uint64_t *categories);

#endif
