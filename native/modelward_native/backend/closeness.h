/* Whether two tensors of floating-point numbers hold the same, but for rounding. */
#ifndef MODELWARD_CLOSENESS_H
#define MODELWARD_CLOSENESS_H

#include <math.h>

#include "answer_output.h"

/* Numbers may differ by `tolerance` of the larger of 1 and the largest finite one of b, and of their own in b beside: what
 * sums large numbers is off by a part of these, however small its result. NaN equals NaN. */
static inline int mw_are_close(const uint8_t *a, const uint8_t *b, size_t elements, mw_dtype dtype, double tolerance) {
    size_t size = mw_dtype_size(dtype);
    double scale = 1;
    for (size_t i = 0; i < elements; i++) {
        double number = fabs(mw_number_at(b + i * size, dtype));
        if (isfinite(number)) scale = mw_larger(scale, number);
    }
    for (size_t i = 0; i < elements; i++) {
        double x = mw_number_at(a + i * size, dtype), y = mw_number_at(b + i * size, dtype);
        if (x == y || (isnan(x) && isnan(y))) continue;
        if (!isfinite(x) || !isfinite(y) || fabs(x - y) > tolerance * (scale + fabs(y))) return 0;
    }
    return 1;
}

#endif
