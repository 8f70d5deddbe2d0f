/* The distance of a row to the nearest training rows, for one instruction set. Included by score.c once per set, with
 *   MW_WIDTH           floats in one register,
 *   MW_ACCUMULATORS    registers that sum at once: enough to hide the latency of an addition, few enough to stay registers,
 *   MW_TARGET          the attribute that allows the instructions,
 *   MW_NAME(f)         a name of its own,
 *   MW_BITS(v)         a bit for each lane of v, which is 0 or -1; may be left out. */

#define lanes MW_NAME(lanes)
#define whole MW_NAME(whole)
#define INLINE MW_TARGET static inline __attribute__((always_inline))

/* One register of floats, of integers; loads and stores need no alignment. */
typedef float lanes __attribute__((vector_size(4 * MW_WIDTH), aligned(4), may_alias));
typedef int32_t whole __attribute__((vector_size(4 * MW_WIDTH), aligned(4), may_alias));

/* A bit for each lane of a comparison's result. */
INLINE uint32_t MW_NAME(bits)(whole found) {
#ifdef MW_BITS
    return MW_BITS(found);
#else
    uint32_t bits = 0;
    for (int l = 0; l < MW_WIDTH; l++) bits |= ((uint32_t)found[l] & 1) << l;
    return bits;
#endif
}

INLINE int MW_NAME(within_range)(const mw_profile *p, const float *row) {
    int outside = 0;
    for (int32_t j = 0; j < p->features; j++) outside |= !(row[j] >= p->low[j]) | !(row[j] <= p->high[j]);
    for (int32_t j = 0; j < p->columns; j++) outside |= row[p->features + j] != 0.0f;
    return !outside;
}

INLINE float MW_NAME(clipped)(float v) {
    const float below = v < MW_SCORE_CLIP ? v : MW_SCORE_CLIP;
    return below > -MW_SCORE_CLIP ? below : -MW_SCORE_CLIP;
}

/* Each feature's normal score. */
INLINE void MW_NAME(quantiles)(const mw_profile *p, const float *row, float *out) {
    const float *knot = p->knot;
    const mw_profile_segment *segment = p->segment;
    for (int32_t j = 0; j < p->features; j++, knot += MW_SCORE_KNOTS, segment += MW_SCORE_KNOTS + 1) {
        const lanes z = (lanes){0} + row[j];
        int below = 0;
        for (int r = 0; r < MW_SCORE_KNOTS / MW_WIDTH; r++)
            below += __builtin_popcount(MW_NAME(bits)(((const lanes *)knot)[r] <= z));
        const mw_profile_segment *s = segment + below;
        out[j] = MW_NAME(clipped)(s->value + s->slope * (row[j] - s->base));
    }
}

INLINE void MW_NAME(map_row)(const mw_profile *p, const float *view, float *mapped) {
    enum { REGISTERS = MW_SCORE_LANES / MW_WIDTH };
    const int32_t f = p->features;
    for (int32_t b = 0; b < p->padded_features; b += MW_SCORE_LANES) {
        const lanes *m = (const lanes *)(p->metric + (size_t)b * (size_t)f);
        lanes even[REGISTERS], odd[REGISTERS]; /* two sums: one alone waits for its own last addition */
        for (int r = 0; r < REGISTERS; r++) even[r] = odd[r] = (lanes){0};
        int32_t j = 0;
        for (; j + 1 < f; j += 2, m += 2 * REGISTERS)
            for (int r = 0; r < REGISTERS; r++) {
                even[r] += view[j] * m[r];
                odd[r] += view[j + 1] * m[REGISTERS + r];
            }
        for (int r = 0; r < REGISTERS; r++) {
            if (j < f) even[r] += view[j] * m[r];
            ((lanes *)(mapped + b))[r] = even[r] + odd[r];
        }
    }
}

/* Squared distances to a panel: its left and its right half, each MW_SCORE_PROTOTYPES points side by side, the next dimension
 * `stride` floats on. */
INLINE void MW_NAME(measure)(const float *mapped, int32_t dimensions, const float *left, const float *right, int stride,
                             float *distance) {
    enum { STEP = MW_WIDTH * MW_ACCUMULATORS };
    for (int at = 0; at < MW_SCORE_PANEL; at += STEP) {
        const float *l = left + at, *r = right + at - MW_SCORE_PROTOTYPES;
        lanes sum[MW_ACCUMULATORS];
        for (int a = 0; a < MW_ACCUMULATORS; a++) sum[a] = (lanes){0};
        /* Differences, not the expanded square: no digits are lost where clusters are narrow and far out. */
        for (int32_t j = 0; j < dimensions; j++, l += stride, r += stride)
            for (int a = 0; a < MW_ACCUMULATORS; a++) {
                const int in_left = at + a * MW_WIDTH < MW_SCORE_PROTOTYPES;
                const lanes d = mapped[j] - *(const lanes *)((in_left ? l : r) + a * MW_WIDTH);
                sum[a] += d * d;
            }
        for (int a = 0; a < MW_ACCUMULATORS; a++) ((lanes *)(distance + at))[a] = sum[a];
    }
}

/* Sorts `count` keys, all different, by how many of them are less: comparisons that wait for no other, and no branches. There is
 * room for n of each, a multiple of MW_SCORE_LANES, and what is beyond count is above all keys. */
INLINE void MW_NAME(sort)(const int32_t *key, int32_t n, int32_t count, int32_t *sorted) {
    for (int32_t i = 0; i < count; i++) {
        int rank = 0;
        for (int32_t j = 0; j < n; j += MW_WIDTH)
            rank += __builtin_popcount(MW_NAME(bits)(*(const whole *)(key + j) < key[i]));
        sorted[rank] = key[i];
    }
}

/* Where the k least of n distances are, the least first. n is a multiple of MW_SCORE_LANES, at most MOST; 1 <= k <=
 * MW_SCORE_NEIGHBOURS. A key is a distance, whose last bits have given way to where it is: as integers, positive floats keep
 * their order. Distances that differ by less than a part in 65,536 are equal so, and the first of equals is first. */
INLINE void MW_NAME(least)(const float *distance, int32_t n, int32_t k, int32_t *found) {
    enum { MOST = 128, REGISTERS = MW_SCORE_LANES / MW_WIDTH };
    int32_t key[MOST], low[MW_SCORE_LANES], near[MOST + MW_SCORE_LANES], sorted[MOST];
    whole place, least[REGISTERS];
    for (int l = 0; l < MW_WIDTH; l++) place[l] = l;
    for (int r = 0; r < REGISTERS; r++) least[r] = (whole){0} + INT32_MAX;
    for (int32_t i = 0; i < n; i += MW_SCORE_LANES)
        for (int r = 0; r < REGISTERS; r++) {
            const int at = i + r * MW_WIDTH;
            const whole k = (*(const whole *)(distance + at) & -MOST) | (place + at);
            const whole less = k < least[r];
            least[r] = (k & less) | (least[r] & ~less);
            *(whole *)(key + at) = k;
        }
    for (int r = 0; r < REGISTERS; r++) ((whole *)low)[r] = least[r];
    /* The k-th least of the least of 16 columns is not below the k-th least of all. */
    MW_NAME(sort)(low, MW_SCORE_LANES, MW_SCORE_LANES, sorted);
    const int32_t bound = sorted[k - 1];
    int32_t count = 0;
    for (int32_t i = 0; i < n; i += 32) {
        uint32_t bits = 0;
        for (int j = 0; j < 32; j += MW_WIDTH) bits |= MW_NAME(bits)(*(const whole *)(key + i + j) <= bound) << j;
        for (; bits; bits &= bits - 1) near[count++] = key[i + __builtin_ctz(bits)];
    }
    for (int l = 0; l < MW_SCORE_LANES; l++) near[count + l] = INT32_MAX;
    MW_NAME(sort)(near, (count + MW_SCORE_LANES - 1) / MW_SCORE_LANES * MW_SCORE_LANES, count, sorted);
    for (int32_t i = 0; i < k; i++) found[i] = sorted[i] & (MOST - 1);
}

/* Weighted mean distance to the nearest rows; -1 where the row was not within range. */
MW_TARGET static double MW_NAME(distance)(const mw_profile *p, const float *row, float *scratch, mw_score *out) {
    out->nearest = out->cell = -1;
    if (!MW_NAME(within_range)(p, row)) return -1.0;
    const int32_t f = p->features, d = p->dimensions;
    float *coarse = scratch, *fine = coarse + MW_SCORE_MAX_CELLS,
          *mapped = fine + MW_SCORE_PROBES * MW_SCORE_PROTOTYPES;
    const float *place = row;
    if (p->middle) {
        float *view = mapped + f + p->padded_features;
        for (int32_t j = 0; j < f; j++) mapped[j] = MW_NAME(clipped)((row[j] - p->middle[j]) * p->inverse_quartile[j]);
        MW_NAME(quantiles)(p, row, view);
        MW_NAME(map_row)(p, view, mapped + f);
        place = mapped;
    }
    for (int32_t b = 0; b < p->padded_cells; b += MW_SCORE_PANEL) {
        const float *panel = p->mean_of_cell + (size_t)b * (size_t)d;
        MW_NAME(measure)(place, d, panel, panel + MW_SCORE_PROTOTYPES, MW_SCORE_PANEL, coarse + b);
    }
    int32_t cell[MW_SCORE_PROBES], nearest[MW_SCORE_NEIGHBOURS];
    MW_NAME(least)(coarse, p->padded_cells, p->probes, cell);
    const size_t size = (size_t)d * MW_SCORE_PROTOTYPES;
    for (int32_t i = 0; i < p->probes; i += 2) {
        const int32_t other =
            i + 1 < p->probes ? cell[i + 1] : cell[i]; /* of an odd one out both halves are the same */
        MW_NAME(measure)(place, d, p->prototype + (size_t)cell[i] * size, p->prototype + (size_t)other * size,
                         MW_SCORE_PROTOTYPES, fine + i * MW_SCORE_PROTOTYPES);
    }
    MW_NAME(least)(fine, p->probes * MW_SCORE_PROTOTYPES, p->neighbours, nearest);
    double sum = 0.0;
    int32_t rows = 0;
    for (int32_t i = 0; i < p->neighbours && rows < p->neighbours; i++) {
        const int32_t of_cell = cell[nearest[i] / MW_SCORE_PROTOTYPES], which = nearest[i] % MW_SCORE_PROTOTYPES;
        const int32_t wanted = rows + p->count[of_cell * MW_SCORE_PROTOTYPES + which];
        const int32_t so_far = wanted < p->neighbours ? wanted : p->neighbours;
        sum += (double)(p->weight[so_far] - p->weight[rows]) * sqrt((double)fine[nearest[i]]);
        rows = so_far;
        if (i == 0) out->nearest = of_cell * MW_SCORE_PROTOTYPES + which;
    }
    out->cell = cell[0];
    return rows > 0 ? sum / (double)p->weight[rows] : MW_SCORE_LIMIT;
}

#undef lanes
#undef whole
#undef INLINE
#undef MW_WIDTH
#undef MW_ACCUMULATORS
#undef MW_TARGET
#undef MW_NAME
#undef MW_BITS
