/* libFuzzer harness of what reads and changes outputs in place (modelward_native/outputs); README.md says how to run it.
 *
 * An input is a ModelInferResponse behind one byte that chooses datatype and form. It lies in an allocation of exactly its size,
 * so that AddressSanitizer sees one byte too far. Beyond memory errors it checks that rounding keeps every label, that the top
 * class alone is left where it is asked for, that clipped numbers are in their range, and that a dropped output is gone. */
#include <stdlib.h>

#include "drop_outputs.h"
#include "guard.h"

#define REQUIRE(condition)                  \
    do {                                    \
        if (!(condition)) __builtin_trap(); \
    } while (0)

static const mw_dtype DTYPES[] = {MW_FP32, MW_FP64, MW_FP16, MW_BF16, MW_INT64, MW_UINT8, MW_BOOL, MW_INT32};

static void check_scores(uint8_t *message, size_t size, mw_dtype dtype, uint8_t form) {
    mw_declared_scores declared = {{{(const uint8_t *)"p", 1}, dtype}, form >> 3 & 1, form >> 4 & 1};
    mw_class_scores scores;
    mw_row_label before[256];
    if (mw_class_scores_find(message, size, &declared, &scores) != MW_OUTPUT_FOUND) return;
    REQUIRE(scores.rows * scores.columns * mw_dtype_size(dtype) <= size);
    uint64_t rows = scores.rows < 256 ? scores.rows : 256;
    for (uint64_t i = 0; i < rows; i++) {
        before[i] = mw_class_scores_label(&scores, i);
        REQUIRE(before[i].margin >= 0 && before[i].margin <= 1 && before[i].label < (int64_t)scores.columns + 1);
    }
    mw_class_scores_round(&scores, form >> 5);
    for (uint64_t i = 0; i < rows; i++) REQUIRE(mw_class_scores_label(&scores, i).label == before[i].label);
    mw_class_scores_top(&scores);
    for (uint64_t i = 0; i < rows; i++) REQUIRE(mw_class_scores_label(&scores, i).label == before[i].label);
}

static void check_guards(uint8_t *message, size_t size, mw_dtype dtype, uint8_t form) {
    uint8_t bytes[256];
    mw_spare_bytes spare = {bytes, sizeof bytes, 0};
    mw_declared_output declared = {{(const uint8_t *)"p", 1}, dtype};
    mw_found_output found;
    mw_guard_example first;
    mw_guard guard = {.batch = form >> 3 & 1, .low = 0, .high = 1, .sum = 1, .tolerance = 0.5};
    double sum;
    mw_find_outputs(message, size, &declared, 1, &found, &spare);
    if (found.state != MW_OUTPUT_FOUND) return;
    for (int kind = MW_GUARD_FINITE; kind <= MW_GUARD_SUM; kind++) guard.action[kind] = MW_ACT_CLIP;
    mw_guard_check(&guard, dtype, &found, &first);
    mw_guard_total(&guard, dtype, &found, &sum);
    for (uint8_t of = MW_BUDGET_LABEL; of <= MW_BUDGET_SUM; of++) {
        mw_budget budget = {.of = of, .label = 1, .above = 0.5, .unit = 1e-3};
        REQUIRE(mw_guard_amount(&guard, &budget, dtype, &found) <= 2 * MW_BUDGET_MOST);
    }
    mw_guard_limit limit = {MW_GUARD_NOT_ABOVE, 0, 0, (int32_t)(form >> 4 & 1) - 1};
    mw_view other = {{found.data, (size_t)found.elements * mw_dtype_size(dtype)}, (int64_t)found.elements, dtype};
    mw_guard_keeps(&guard, &limit, dtype, &found, &other, form >> 5 & 1, &first);
    if (mw_guard_clip(&guard, dtype, &found)) {
        guard.action[MW_GUARD_SUM] = MW_ACT_NONE;
        REQUIRE(mw_guard_check(&guard, dtype, &found, &first) == 0);
    }
}

/* Raw contents have no name but their place: what is left has one for each output, or none. */
static void check_places(mw_span message) {
    mw_cursor c = mw_cursor_over(message);
    uint32_t outputs = 0, raws = 0, tag;
    while (c.at < c.end) {
        REQUIRE(mw_read_tag(&c, &tag) && mw_skip(&c, tag, 0));
        outputs += tag == MW_TAG(5, MW_WIRE_LEN);
        raws += tag == MW_TAG(6, MW_WIRE_LEN);
    }
    REQUIRE(outputs > 0 && (raws == 0 || raws == outputs));
}

static void check_dropped(uint8_t *message, size_t size) {
    const mw_span name = {(const uint8_t *)"p", 1};
    mw_declared_output declared = {name, MW_FP32};
    mw_found_output found;
    size_t left = mw_drop_outputs(message, size, &name, 1);
    if (left == MW_NOT_DROPPED) return;
    REQUIRE(left <= size);
    check_places((mw_span){message, left});
    if (mw_find_outputs(message, left, &declared, 1, &found, NULL)) REQUIRE(found.state == MW_OUTPUT_ABSENT);
    REQUIRE(mw_drop_outputs(message, left, &name, 1) == left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    uint8_t form = data[0], *copy = malloc(size);
    mw_dtype dtype = DTYPES[form & 7];
    memcpy(copy, data + 1, size - 1);
    copy = realloc(copy, size - 1 ? size - 1 : 1);
    check_guards(copy, size - 1, dtype, form);
    if (size > 1) memcpy(copy, data + 1, size - 1);
    if (mw_is_floating(dtype)) check_scores(copy, size - 1, dtype, form);
    if (size > 1) memcpy(copy, data + 1, size - 1);
    check_dropped(copy, size - 1);
    free(copy);
    return 0;
}
