/* libFuzzer harness of the comparison of two answers (modelward_native/shadow/compare.c); README.md says how to run it.
 *
 * An input is two ModelInferResponses: two bytes of the first one's length, and both. Each lies in an allocation of exactly
 * its size, so that AddressSanitizer sees one byte too far. Beyond memory errors it checks what readers of stats rely on:
 * counts stay inside their bounds, shares between 0 and 1, differences and scores finite, and an answer agrees with itself. */
#include <stdlib.h>

#include "shadow_stats.h"

#define REQUIRE(condition)                  \
    do {                                    \
        if (!(condition)) __builtin_trap(); \
    } while (0)

static mw_compare_scratch scratch;
static mw_shadow_stats stats;
static mw_shadow_window window;

static mw_span copied(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size);
    if (size) memcpy(copy, data, size);
    return (mw_span){copy, size};
}

static void check(const mw_comparison *c) {
    REQUIRE(c->disagreement >= 0.0 && c->disagreement <= 1.0);
    REQUIRE(c->outputs + c->missing + c->unreadable <= MW_COMPARE_OUTPUTS);
    REQUIRE(c->labels <= MW_COMPARE_ELEMENTS && c->labels_differ <= c->labels);
    REQUIRE(c->numbers <= MW_COMPARE_ELEMENTS && c->beyond <= c->numbers);
    REQUIRE(c->differences + c->nan_primary + c->nan_shadow + c->nan_both <= c->numbers);
    REQUIRE(c->relative_max <= 2.0 && c->relative_sum <= 2.0 * c->numbers);
    REQUIRE(c->absolute_max >= 0.0 && c->absolute_max <= __DBL_MAX__);
    REQUIRE(c->scores <= MW_COMPARE_SCORES);
    for (uint32_t i = 0; i < c->scores; i++) {
        REQUIRE(__builtin_isfinite(c->score_primary[i]) && __builtin_isfinite(c->score_shadow[i]));
        REQUIRE(mw_score_cell(c->score_primary[i]) < MW_SCORE_CELLS);
    }
    if (c->status != MW_COMPARED) REQUIRE(c->outputs == 0 && c->labels == 0 && c->numbers == 0);
}

static int named_alike(const mw_scan *answer) {
    for (uint32_t i = 0; i < answer->inputs; i++)
        for (uint32_t j = 0; j < i; j++) {
            mw_span a = answer->input[i].name, b = answer->input[j].name;
            if (a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0)) return 1;
        }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    size_t first = data[0] | (size_t)data[1] << 8;
    if (first > size - 2) first = size - 2;
    mw_span primary = copied(data + 2, first), shadow = copied(data + 2 + first, size - 2 - first);
    mw_comparison c;
    mw_compare_pair(primary, shadow, 0.01, &scratch, &c);
    check(&c);
    mw_shadow_record(&stats, &c, 1000, 2000);
    mw_window_record(&window, &c);
    REQUIRE(stats.disagreement <= (double)stats.compared);
    mw_compare_pair(primary, primary, 0.0, &scratch, &c);
    check(&c);
    if (c.status == MW_COMPARED && !named_alike(&scratch.primary)) REQUIRE(c.disagreement == 0.0 && c.extra == 0);
    free((void *)primary.data);
    free((void *)shadow.data);
    return 0;
}
