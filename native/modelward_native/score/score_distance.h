/* The distance of a row to the nearest training rows, for one instruction set. Included by score.c once per set, with
 *   MW_WIDTH         floats in one register,
 *   MW_ACCUMULATORS  registers that sum at once: enough to hide the latency of an addition, few enough to stay registers,
 *   MW_TARGET        the attribute that allows the instructions,
 *   MW_NAME(f)       a name of its own. */

#define lanes MW_NAME(lanes)
#define whole MW_NAME(whole)
#define INLINE MW_TARGET static inline __attribute__((always_inline))

/* One register of floats, of integers; loads and stores need no alignment. */
typedef float lanes __attribute__((vector_size(4 * MW_WIDTH), aligned(4), may_alias));
typedef int32_t whole __attribute__((vector_size(4 * MW_WIDTH), aligned(4), may_alias));

INLINE int MW_NAME(within_range)(const mw_profile *p, const float *row) {
    int outside = 0;
    for (int32_t j = 0; j < p->features; j++) outside |= !(row[j] >= p->low[j]) | !(row[j] <= p->high[j]);
    for (int32_t j = 0; j < p->columns; j++) outside |= row[p->features + j] != 0.0f;
    return !outside;
}

INLINE void MW_NAME(map_row)(const mw_profile *p, const float *row, float *mapped) {
    enum { REGISTERS = MW_SCORE_LANES / MW_WIDTH };
    const int32_t f = p->features;
    for (int32_t b = 0; b < p->padded_features; b += MW_SCORE_LANES) {
        const lanes *m = (const lanes *)(p->metric + (size_t)b * (size_t)f);
        lanes even[REGISTERS], odd[REGISTERS]; /* two sums: one alone waits for its own last addition */
        for (int r = 0; r < REGISTERS; r++) even[r] = odd[r] = (lanes){0};
        int32_t j = 0;
        for (; j + 1 < f; j += 2, m += 2 * REGISTERS)
            for (int r = 0; r < REGISTERS; r++) {
                even[r] += row[j] * m[r];
                odd[r] += row[j + 1] * m[REGISTERS + r];
            }
        for (int r = 0; r < REGISTERS; r++) {
            if (j < f) even[r] += row[j] * m[r];
            ((lanes *)(mapped + b))[r] = even[r] + odd[r];
        }
    }
}

INLINE void MW_NAME(measure)(const mw_profile *p, const float *mapped, float *distance) {
    enum { STEP = MW_WIDTH * MW_ACCUMULATORS };
    for (int32_t b = 0; b < p->padded_centroids; b += STEP) {
        const int32_t panel = b / MW_SCORE_PANEL * MW_SCORE_PANEL;
        const float *c = p->panel + (size_t)panel * (size_t)p->features + (b - panel);
        lanes sum[MW_ACCUMULATORS];
        for (int a = 0; a < MW_ACCUMULATORS; a++) sum[a] = (lanes){0};
        /* Differences, not the expanded square: no digits are lost where clusters are narrow and far out. */
        for (int32_t j = 0; j < p->features; j++, c += MW_SCORE_PANEL)
            for (int a = 0; a < MW_ACCUMULATORS; a++) {
                const lanes d = mapped[j] - ((const lanes *)c)[a];
                sum[a] += d * d;
            }
        for (int a = 0; a < MW_ACCUMULATORS; a++) ((lanes *)(distance + b))[a] = sum[a];
    }
}

/* Index of the smallest distance, the first of equals; -1 where none is finite. Every lane keeps its own smallest and where
 * it was, as bits under a mask: written with conditionals, compilers make it 256 comparisons one by one. */
INLINE int32_t MW_NAME(smallest)(const float *distance, int32_t n) {
    lanes best = (lanes){0} + INFINITY;
    whole at = (whole){0} - 1;
    for (int32_t i = 0; i < n; i += MW_WIDTH) {
        const lanes d = *(const lanes *)(distance + i);
        const whole less = d < best;
        best = (lanes)(((whole)d & less) | ((whole)best & ~less));
        at = (i & less) | (at & ~less);
    }
    int32_t found = -1;
    float least = INFINITY;
    for (int32_t l = 0; l < MW_WIDTH; l++) {
        const int32_t i = at[l] + l;
        if (at[l] >= 0 && (best[l] < least || (best[l] == least && i < found))) {
            least = best[l];
            found = i;
        }
    }
    return found;
}

/* Mean distance to the nearest rows; -1 where the row was not within range. */
MW_TARGET static double MW_NAME(distance)(const mw_profile *p, const float *row, float *scratch, int32_t *nearest) {
    *nearest = -1;
    if (!MW_NAME(within_range)(p, row)) return -1.0;
    const float *mapped = row;
    if (p->metric) {
        MW_NAME(map_row)(p, row, scratch);
        mapped = scratch;
    }
    float *distance = scratch + p->padded_features;
    MW_NAME(measure)(p, mapped, distance);
    float left = p->neighbours;
    double sum = 0.0;
    /* Usually one turn: most centroids stand for more rows than are asked for; never more than `neighbours`. */
    while (left > 0.0f) {
        const int32_t at = MW_NAME(smallest)(distance, p->padded_centroids);
        if (at < 0) break;
        if (*nearest < 0) *nearest = at;
        const float rows = p->count[at] < left ? p->count[at] : left;
        sum += (double)rows * sqrt((double)distance[at]);
        left -= rows;
        distance[at] = INFINITY;
    }
    return left < p->neighbours ? sum / (double)(p->neighbours - left) : MW_SCORE_LIMIT;
}

#undef lanes
#undef whole
#undef INLINE
#undef MW_WIDTH
#undef MW_ACCUMULATORS
#undef MW_TARGET
#undef MW_NAME
