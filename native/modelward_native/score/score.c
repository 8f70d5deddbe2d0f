#include "score.h"

#include <math.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* The distance is compiled once per instruction set, in registers of its own width: one source with registers of 512 bits
 * would be ten times slower where the machine has them narrower. */
#define MW_WIDTH 4
#define MW_ACCUMULATORS 8
#define MW_TARGET
#define MW_NAME(f) f##_plain
#include "score_distance.h"

typedef double distance_function(const mw_profile *p, const float *row, float *scratch, mw_score *out);

#ifndef __x86_64__
static distance_function *const distance_of = distance_plain;
#else
#define MW_WIDTH 8
#define MW_ACCUMULATORS 8
#define MW_TARGET __attribute__((target("avx2,fma,popcnt")))
#define MW_NAME(f) f##_avx2
#define MW_BITS(v) (uint32_t)_mm256_movemask_ps((__m256)(v))
#include "score_distance.h"

#define MW_WIDTH 16
#define MW_ACCUMULATORS 4
/* gcc gives registers of 512 bits places on AddressSanitizer's own stack that are not aligned for them (gcc bug 110027). What
 * it would find here it finds in the other two. */
#define MW_TARGET __attribute__((target("avx2,fma,popcnt,avx512f,avx512vl,avx512bw,avx512dq"), no_sanitize_address))
#define MW_NAME(f) f##_avx512
#define MW_BITS(v) (uint32_t)_mm512_movepi32_mask((__m512i)(v))
#include "score_distance.h"

static distance_function *distance_of = distance_plain;

__attribute__((constructor)) static void choose_distance(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) distance_of = distance_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq"))
        distance_of = distance_avx512;
}
#endif

int mw_score_use(mw_score_target target) {
#ifdef __x86_64__
    __builtin_cpu_init();
    if (target == MW_TARGET_AVX2) {
        if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return -1;
        distance_of = distance_avx2;
    } else if (target == MW_TARGET_PLAIN) {
        distance_of = distance_plain;
    } else {
        choose_distance();
    }
    return 0;
#else
    return target == MW_TARGET_AVX2 ? -1 : 0;
#endif
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
    const double distance = distance_of(p, row, scratch, out);
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
        return value > 1e-300 ? value : 1e-300; /* 0 belongs to rows that were caught */
    }
    /* The last knot that is not above: counted in steps of 16, then one by one. Comparisons that wait for no other are a
     * third of the time of halving. */
    int32_t below = 0;
    for (int32_t i = 16; i <= last; i += 16) below += p->knot_score[i] <= score ? 16 : 0;
    const int32_t end = below + 16 < last ? below + 16 : last;
    int32_t further = 0;
    for (int32_t i = below + 1; i < end; i++) further += p->knot_score[i] <= score;
    below += further;
    const int32_t above = below + 1;
    const double part = (score - p->knot_score[below]) / (p->knot_score[above] - p->knot_score[below]);
    return p->knot_p[below] + part * (p->knot_p[above] - p->knot_p[below]);
}

/* A feature's standardised value in a row whose place in that dimension is this. */
static float usual(const mw_profile *p, int32_t j, float place) {
    return p->middle ? p->middle[j] + place / p->inverse_quartile[j] : place;
}

void mw_score_explain(const mw_profile *p, const float *row, const mw_score *s, int32_t feature[MW_SCORE_EXPLAINED],
                      float deviation[MW_SCORE_EXPLAINED]) {
    const int32_t cell = s->nearest / MW_SCORE_PROTOTYPES, which = s->nearest % MW_SCORE_PROTOTYPES;
    const float *prototype =
        NULL; /* its first dimensions, which are every MW_SCORE_PROTOTYPES floats, are the features */
    if (s->nearest >= 0) prototype = p->prototype + (size_t)cell * (size_t)p->dimensions * MW_SCORE_PROTOTYPES + which;
    for (int k = 0; k < MW_SCORE_EXPLAINED; k++) {
        feature[k] = -1;
        deviation[k] = 0.0f;
    }
    const int32_t all = p->features + p->columns;
    for (int32_t j = 0; j < all; j++) {
        float d;
        if (j >= p->features) d = row[j] != 0.0f ? INFINITY : 0.0f;
        else if (row[j] != row[j]) d = INFINITY;
        else d = row[j] - (prototype ? usual(p, j, prototype[(size_t)j * MW_SCORE_PROTOTYPES]) : 0.0f);
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
