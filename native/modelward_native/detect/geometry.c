#include <math.h>
#include <string.h>

#include "fingerprint.h"

enum { WHICH_FEATURE = 100, WHICH_SIGN = 101, TURNS = 12 };

void mw_watch_draw(mw_watch *w, int32_t *feature, float *projection) {
    const int32_t all = w->features, taken = all < MW_WATCH_FEATURES ? all : MW_WATCH_FEATURES;
    w->projected = taken;
    w->feature = all > taken ? feature : NULL;
    w->projection = projection;
    for (int32_t j = 0; j < taken; j++) {
        /* one of each stretch of features, so that no part of an image is left out */
        const int64_t from = (int64_t)all * j / taken, to = (int64_t)all * (j + 1) / taken;
        if (w->feature)
            feature[j] =
                (int32_t)(from + (int64_t)(mw_watch_secret(w, WHICH_FEATURE, (uint64_t)j) % (uint64_t)(to - from)));
        const uint64_t bits = mw_watch_secret(w, WHICH_SIGN, (uint64_t)j);
        for (int k = 0; k < MW_WATCH_PROJECTIONS; k++)
            projection[j * MW_WATCH_PROJECTIONS + k] = bits >> k & 1 ? 1.0f : -1.0f;
    }
}

static float distance(const mw_watch *w, const float *center, const float *mean) {
    float sum = 0.0f;
    for (int32_t j = 0; j < w->projected; j++) {
        const float d = center[w->feature ? w->feature[j] : j] - mean[j];
        sum += d * d;
    }
    return sum;
}

/* Lloyd's k-means, from cells evenly spaced in their order: the same in each process. */
void mw_watch_group_cells(const mw_watch *w, const float *center, int32_t cells, uint8_t group[MW_WATCH_CELLS]) {
    static float mean[MW_WATCH_GROUPS][MW_WATCH_FEATURES]; /* 16 KiB: too much for a stack, and set up by one thread */
    const size_t f = (size_t)w->features;
    memset(group, 0, MW_WATCH_CELLS);
    for (int g = 0; g < MW_WATCH_GROUPS; g++)
        for (int32_t j = 0; j < w->projected; j++)
            mean[g][j] = center[(size_t)(cells * g / MW_WATCH_GROUPS) * f + (size_t)(w->feature ? w->feature[j] : j)];
    for (int turn = 0; turn < TURNS; turn++) {
        float count[MW_WATCH_GROUPS] = {0};
        for (int32_t c = 0; c < cells; c++) {
            float least = INFINITY;
            for (int g = 0; g < MW_WATCH_GROUPS; g++) {
                const float d = distance(w, center + (size_t)c * f, mean[g]);
                if (d >= least) continue;
                least = d;
                group[c] = (uint8_t)g;
            }
        }
        memset(mean, 0, sizeof mean);
        for (int32_t c = 0; c < cells; c++) {
            count[group[c]] += 1.0f;
            for (int32_t j = 0; j < w->projected; j++)
                mean[group[c]][j] += center[(size_t)c * f + (size_t)(w->feature ? w->feature[j] : j)];
        }
        for (int g = 0; g < MW_WATCH_GROUPS; g++)
            for (int32_t j = 0; j < w->projected; j++) mean[g][j] /= count[g] > 0.0f ? count[g] : 1.0f;
    }
}
