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

static float distance(const float *a, const float *b, int32_t dimensions) {
    float sum = 0.0f;
    for (int32_t j = 0; j < dimensions; j++) sum += (a[j] - b[j]) * (a[j] - b[j]);
    return sum;
}

/* Lloyd's k-means, from cells evenly spaced in their order: the same in each process. */
void mw_watch_group_cells(const float *center, int32_t cells, int32_t dimensions, uint8_t group[MW_WATCH_CELLS]) {
    float mean[MW_WATCH_GROUPS][MW_WATCH_FEATURES];
    const size_t d = (size_t)dimensions;
    memset(group, 0, MW_WATCH_CELLS);
    for (int g = 0; g < MW_WATCH_GROUPS; g++)
        memcpy(mean[g], center + (size_t)(cells * g / MW_WATCH_GROUPS) * d, d * sizeof(float));
    for (int turn = 0; turn < TURNS; turn++) {
        float count[MW_WATCH_GROUPS] = {0};
        for (int32_t c = 0; c < cells; c++) {
            float least = INFINITY;
            for (int g = 0; g < MW_WATCH_GROUPS; g++) {
                const float far = distance(center + (size_t)c * d, mean[g], dimensions);
                if (far >= least) continue;
                least = far;
                group[c] = (uint8_t)g;
            }
        }
        memset(mean, 0, sizeof mean);
        for (int32_t c = 0; c < cells; c++) {
            count[group[c]] += 1.0f;
            for (size_t j = 0; j < d; j++) mean[group[c]][j] += center[(size_t)c * d + j];
        }
        for (int g = 0; g < MW_WATCH_GROUPS; g++)
            for (size_t j = 0; j < d; j++) mean[g][j] /= count[g] > 0.0f ? count[g] : 1.0f;
    }
}
