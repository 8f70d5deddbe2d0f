#include "score.h"

#include <math.h>

/* The kernel exists once per instruction set and the loader picks (ifunc). Not under AddressSanitizer, whose runtime is
 * not up yet when resolvers run, and not without glibc, where there is no ifunc. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MW_ONE_TARGET
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || !defined(__x86_64__) || !defined(__GLIBC__)
#define MW_ONE_TARGET
#endif
#ifdef MW_ONE_TARGET
#define MW_PER_TARGET
#else
#define MW_PER_TARGET __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#endif

/* Sixteen floats wherever they lie: one register of AVX-512, two of AVX2, four of SSE2 or NEON. */
typedef float lanes __attribute__((vector_size(4 * MW_SCORE_LANES), aligned(4), may_alias));
typedef int32_t whole __attribute__((vector_size(4 * MW_SCORE_LANES), aligned(4), may_alias));

static inline __attribute__((always_inline)) int within_range(const mw_profile *p, const float *row) {
    int outside = 0;
    for (int32_t j = 0; j < p->features; j++) outside |= !(row[j] >= p->low[j]) | !(row[j] <= p->high[j]);
    for (int32_t j = 0; j < p->columns; j++) outside |= row[p->features + j] != 0.0f;
    return !outside;
}

static inline __attribute__((always_inline)) void map_row(const mw_profile *p, const float *row, float *mapped) {
    const int32_t f = p->features;
    for (int32_t b = 0; b < p->padded_features; b += MW_SCORE_LANES) {
        const lanes *m = (const lanes *)(p->metric + (size_t)b * (size_t)f);
        lanes even = {0}, odd = {0};  /* two sums: one alone waits for its own last addition */
        int32_t j = 0;
        for (; j + 1 < f; j += 2) {
            even += row[j] * m[j];
            odd += row[j + 1] * m[j + 1];
        }
        if (j < f) even += row[j] * m[j];
        *(lanes *)(mapped + b) = even + odd;
    }
}

static inline __attribute__((always_inline)) void measure(const mw_profile *p, const float *mapped, float *distance) {
    const lanes *c = (const lanes *)p->panel;
    for (int32_t b = 0; b < p->padded_centroids; b += MW_SCORE_PANEL) {
        lanes s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
        /* Differences, not the expanded square: no digits are lost where clusters are narrow and far out. */
        for (int32_t j = 0; j < p->features; j++, c += 4) {
            const lanes d0 = mapped[j] - c[0], d1 = mapped[j] - c[1], d2 = mapped[j] - c[2], d3 = mapped[j] - c[3];
            s0 += d0 * d0;
            s1 += d1 * d1;
            s2 += d2 * d2;
            s3 += d3 * d3;
        }
        lanes *to = (lanes *)(distance + b);
        to[0] = s0;
        to[1] = s1;
        to[2] = s2;
        to[3] = s3;
    }
}

/* Index of the smallest distance, the first of equals; -1 where none is finite. Every lane keeps its own smallest and where
 * it was, as bits under a mask: written with conditionals, compilers make it 256 comparisons one by one. */
static inline __attribute__((always_inline)) int32_t smallest(const float *distance, int32_t n) {
    lanes best = (lanes){0} + INFINITY;
    whole at = (whole){0} - 1;
    for (int32_t i = 0; i < n; i += MW_SCORE_LANES) {
        const lanes d = *(const lanes *)(distance + i);
        const whole less = d < best;
        best = (lanes)(((whole)d & less) | ((whole)best & ~less));
        at = (i & less) | (at & ~less);
    }
    int32_t found = -1;
    float least = INFINITY;
    for (int32_t l = 0; l < MW_SCORE_LANES; l++) {
        const int32_t i = at[l] + l;
        if (at[l] >= 0 && (best[l] < least || (best[l] == least && i < found))) {
            least = best[l];
            found = i;
        }
    }
    return found;
}

/* Mean distance to the nearest rows, 0 < result; -1 where the row was not within range. */
MW_PER_TARGET static double distance_of(const mw_profile *p, const float *row, float *scratch, int32_t *nearest) {
    *nearest = -1;
    if (!within_range(p, row)) return -1.0;
    const float *mapped = row;
    if (p->metric) {
        map_row(p, row, scratch);
        mapped = scratch;
    }
    float *distance = scratch + p->padded_features;
    measure(p, mapped, distance);
    float left = p->neighbours;
    double sum = 0.0;
    /* Usually one turn: most centroids stand for more rows than are asked for; never more than `neighbours`. */
    while (left > 0.0f) {
        const int32_t at = smallest(distance, p->padded_centroids);
        if (at < 0) break;
        if (*nearest < 0) *nearest = at;
        const float rows = p->count[at] < left ? p->count[at] : left;
        sum += (double)rows * sqrt((double)distance[at]);
        left -= rows;
        distance[at] = INFINITY;
    }
    return left < p->neighbours ? sum / (double)(p->neighbours - left) : MW_SCORE_LIMIT;
}

static uint32_t flags_of(const mw_profile *p, const float *row) {
    uint32_t flags = 0;
    for (int32_t j = 0; j < p->features; j++) {
        if (row[j] != row[j]) flags |= MW_SCORE_NOT_A_NUMBER;
        else if (row[j] < p->low[j] || row[j] > p->high[j]) flags |= MW_SCORE_OUT_OF_RANGE;
    }
    for (int32_t j = 0; j < p->columns; j++)
        if (row[p->features + j] != 0.0f) flags |= MW_SCORE_UNKNOWN_CATEGORY;
    return flags;
}

void mw_score_row(const mw_profile *p, const float *row, float *scratch, mw_score *out) {
    const double distance = distance_of(p, row, scratch, &out->nearest);
    if (distance < 0.0) {
        out->score = MW_SCORE_LIMIT;
        out->p_value = 0.0;
        out->flags = flags_of(p, row);
        return;
    }
    out->score = distance < MW_SCORE_LIMIT ? distance : MW_SCORE_LIMIT;
    out->p_value = mw_score_p_value(p, out->score);
    out->flags = 0;
}

double mw_score_p_value(const mw_profile *p, double score) {
    const int32_t last = p->knots - 1;
    if (score < p->knot_score[0]) return 1.0;
    if (score >= p->knot_score[last]) {
        const double growth = (1.0 + score) / (1.0 + p->knot_score[last]);
        const double value = p->knot_p[last] * pow(growth, -p->tail_index);
        return value > 1e-300 ? value : 1e-300;  /* 0 belongs to rows that were caught */
    }
    int32_t below = 0, above = last;
    while (above - below > 1) {
        const int32_t middle = below + (above - below) / 2;
        if (p->knot_score[middle] <= score) below = middle;
        else above = middle;
    }
    const double part = (score - p->knot_score[below]) / (p->knot_score[above] - p->knot_score[below]);
    return p->knot_p[below] + part * (p->knot_p[above] - p->knot_p[below]);
}

void mw_score_explain(const mw_profile *p, const float *row, const mw_score *s, int32_t feature[MW_SCORE_EXPLAINED],
                      float deviation[MW_SCORE_EXPLAINED]) {
    const float *center = s->nearest >= 0 ? p->center + (size_t)s->nearest * (size_t)p->features : NULL;
    for (int k = 0; k < MW_SCORE_EXPLAINED; k++) {
        feature[k] = -1;
        deviation[k] = 0.0f;
    }
    const int32_t all = p->features + p->columns;
    for (int32_t j = 0; j < all; j++) {
        float d;
        if (j >= p->features) d = row[j] != 0.0f ? INFINITY : 0.0f;
        else if (row[j] != row[j]) d = INFINITY;
        else d = center ? row[j] - center[j] : row[j];
        int at = MW_SCORE_EXPLAINED;
        while (at > 0 && (feature[at - 1] < 0 || fabsf(d) > fabsf(deviation[at - 1]))) at--;
        if (at == MW_SCORE_EXPLAINED) continue;
        for (int k = MW_SCORE_EXPLAINED - 1; k > at; k--) {
            feature[k] = feature[k - 1];
            deviation[k] = deviation[k - 1];
        }
        feature[at] = j;
        deviation[at] = d;
    }
}
