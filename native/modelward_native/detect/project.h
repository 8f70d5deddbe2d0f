/* The projections of a row, for one instruction set. Included by fingerprint.c once per set, as score_distance.h is, with
 * MW_TARGET and MW_NAME. Sixteen sums side by side are one register of AVX-512, two of AVX2, four of SSE. */

typedef float MW_NAME(sums) __attribute__((vector_size(4 * MW_WATCH_PROJECTIONS), aligned(4), may_alias));
#define sums MW_NAME(sums)

MW_TARGET static void MW_NAME(project)(const mw_watch *w, const float *row, float v[MW_WATCH_PROJECTIONS]) {
    const sums *m = (const sums *)w->projection;
    sums even = {0}, odd = {0}; /* two: one alone waits for its own last addition */
    int32_t j = 0;
    if (w->feature == NULL) {
        for (; j + 1 < w->projected; j += 2) {
            even += row[j] * m[j];
            odd += row[j + 1] * m[j + 1];
        }
        if (j < w->projected) even += row[j] * m[j];
    } else {
        for (; j < w->projected; j++) even += row[w->feature[j]] * m[j];
    }
    *(sums *)v = even + odd;
}

/* The hash of the piece of space that half of the projections lie in: a sum of secret multiples of whole numbers. Far values
 * are cut, so that each is one. */
MW_TARGET static uint64_t MW_NAME(piece_of)(const mw_watch *w, int r, const float *v, float scale) {
    const float *half = v + (r & 1) * MW_WATCH_PER_HASH;
    int32_t whole[MW_WATCH_PER_HASH];
    for (int k = 0; k < MW_WATCH_PER_HASH; k++) {
        float x = half[k] * scale + w->offset[r][k];
        x = x > -1e6f ? x : -1e6f;
        x = x < 1e6f ? x : 1e6f;
        whole[k] = (int32_t)x;
        whole[k] -= (float)whole[k] > x; /* rounded down */
    }
    uint64_t h = w->salt[r];
    for (int k = 0; k < MW_WATCH_PER_HASH; k++) h += (uint64_t)(uint32_t)whole[k] * w->multiplier[r][k];
    return h;
}

MW_TARGET static void MW_NAME(pieces_of)(const mw_watch *w, const float *v, float inverse_radius,
                                         uint64_t piece[MW_WATCH_RESOLUTIONS]) {
    for (int r = 0; r < MW_WATCH_RESOLUTIONS; r++)
        piece[r] = MW_NAME(piece_of)(w, r, v, w->shared->inverse_width[r] * inverse_radius);
}

#undef sums
#undef MW_TARGET
#undef MW_NAME
