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

typedef float MW_NAME(eight) __attribute__((vector_size(4 * MW_WATCH_PER_HASH), aligned(4), may_alias));
typedef int32_t MW_NAME(eight_whole) __attribute__((vector_size(4 * MW_WATCH_PER_HASH)));
typedef uint32_t MW_NAME(eight_narrow) __attribute__((vector_size(4 * MW_WATCH_PER_HASH)));
typedef uint64_t MW_NAME(eight_wide) __attribute__((vector_size(8 * MW_WATCH_PER_HASH), aligned(8), may_alias));
#define eight MW_NAME(eight)
#define eight_whole MW_NAME(eight_whole)
#define eight_wide MW_NAME(eight_wide)

/* The hash of the piece of space that half of the projections lie in: a sum of secret multiples of whole numbers. Far values
 * are cut, so that each is one. Eight numbers side by side; a comparison is a mask of all bits. */
MW_TARGET static uint64_t MW_NAME(piece_of)(const mw_watch *w, int r, const float *v, float scale) {
    const eight least = {-1e6f, -1e6f, -1e6f, -1e6f, -1e6f, -1e6f, -1e6f, -1e6f}, most = -least;
    eight x = *(const eight *)(v + (r & 1) * MW_WATCH_PER_HASH) * scale + *(const eight *)w->offset[r];
    eight_whole inside = x > least;
    x = (eight)(((eight_whole)x & inside) | ((eight_whole)least & ~inside));
    inside = x < most;
    x = (eight)(((eight_whole)x & inside) | ((eight_whole)most & ~inside));
    eight_whole whole = __builtin_convertvector(x, eight_whole);
    whole += __builtin_convertvector(whole, eight) > x; /* rounded down */
    const eight_wide product =
        __builtin_convertvector((MW_NAME(eight_narrow))whole, eight_wide) * *(const eight_wide *)w->multiplier[r];
    uint64_t h = w->salt[r];
    for (int k = 0; k < MW_WATCH_PER_HASH; k++) h += product[k];
    return h;
}

MW_TARGET static void MW_NAME(pieces_of)(const mw_watch *w, const float *v, float inverse_radius,
                                         uint64_t piece[MW_WATCH_RESOLUTIONS]) {
    for (int r = 0; r < MW_WATCH_RESOLUTIONS; r++)
        piece[r] = MW_NAME(piece_of)(w, r, v, w->shared->inverse_width[r] * inverse_radius);
}

#undef sums
#undef eight
#undef eight_whole
#undef eight_wide
#undef MW_TARGET
#undef MW_NAME
