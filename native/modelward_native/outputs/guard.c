#include "guard.h"

mw_guard_rows mw_guard_rows_of(const mw_guard *g, const mw_found_output *f) {
    int by_row = f->rank > 1 || (f->rank == 1 && g->batch);
    mw_guard_rows r = {by_row ? (uint64_t)f->shape[0] : 1, 0};
    r.columns = r.rows ? f->elements / r.rows : 0;
    return r;
}

/* ---- finite, range ---- */

/* Whether one of the numbers is not between the bounds; NaN is not. Without a branch, so that compilers compare several at once. */
static int any_outside_single(const uint8_t *data, uint64_t count, float low, float high) {
    int32_t outside = 0;
    for (uint64_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, data + i * 4, 4);
        outside |= !__builtin_isgreaterequal(value, low) | !__builtin_islessequal(value, high);
    }
    return outside != 0;
}

static int any_outside_double(const uint8_t *data, uint64_t count, double low, double high) {
    int64_t outside = 0;
    for (uint64_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, data + i * 8, 8);
        outside |= !__builtin_isgreaterequal(value, low) | !__builtin_islessequal(value, high);
    }
    return outside != 0;
}

static int any_outside(const uint8_t *data, mw_dtype dtype, uint64_t count, double low, double high) {
    if (dtype == MW_FP32) return any_outside_single(data, count, (float)low, (float)high);
    if (dtype == MW_FP64) return any_outside_double(data, count, low, high);
    int outside = 0;
    for (uint64_t i = 0; i < count; i++) {
        double value = mw_any_number(data, dtype, i);
        outside |= !(value >= low) | !(value <= high);
    }
    return outside;
}

static void note(mw_guard_example *first, uint32_t violated, uint64_t element, double value) {
    if (!violated) *first = (mw_guard_example){element, value, NAN};
}

static uint32_t which_outside(const mw_guard *g, mw_dtype dtype, const mw_found_output *f, mw_guard_example *first) {
    uint32_t violated = 0;
    for (uint64_t i = 0; i < f->elements; i++) {
        double value = mw_any_number(f->data, dtype, i);
        uint32_t here = 0;
        if (g->action[MW_GUARD_FINITE] && !isfinite(value)) here |= 1u << MW_GUARD_FINITE;
        if (g->action[MW_GUARD_RANGE] && !(value >= g->low && value <= g->high)) here |= 1u << MW_GUARD_RANGE;
        if (here & ~violated) {
            note(first, violated, i, value);
            violated |= here;
        }
    }
    return violated;
}

int mw_guard_clip(const mw_guard *g, mw_dtype dtype, const mw_found_output *f) {
    for (uint64_t i = 0; i < f->elements; i++) {
        double value = mw_any_number(f->data, dtype, i);
        if (value != value) return 0;
        if (value < g->low) mw_store_any(f->data, dtype, i, g->low);
        if (value > g->high) mw_store_any(f->data, dtype, i, g->high);
    }
    return 1;
}

/* ---- sum ---- */

static uint32_t check_sums(const mw_guard *g, mw_dtype dtype, const mw_found_output *f, uint32_t violated,
                           mw_guard_example *first) {
    mw_guard_rows r = mw_guard_rows_of(g, f);
    for (uint64_t row = 0; row < r.rows; row++) {
        double sum = 0;
        for (uint64_t i = 0; i < r.columns; i++) sum += mw_any_number(f->data, dtype, row * r.columns + i);
        if (!(fabs(sum - g->sum) <= g->tolerance)) {
            note(first, violated, row * r.columns, sum);
            return violated | 1u << MW_GUARD_SUM;
        }
    }
    return violated;
}

uint32_t mw_guard_check(const mw_guard *g, mw_dtype dtype, const mw_found_output *f, mw_guard_example *first) {
    uint32_t violated = 0;
    if (g->action[MW_GUARD_FINITE] || g->action[MW_GUARD_RANGE]) {
        double low = g->low, high = g->high, most = dtype == MW_FP32 ? __FLT_MAX__ : __DBL_MAX__;
        if (g->action[MW_GUARD_FINITE]) { /* infinite ones are between no finite bounds */
            low = low < -most ? -most : low;
            high = high > most ? most : high;
        }
        if (any_outside(f->data, dtype, f->elements, low, high)) violated = which_outside(g, dtype, f, first);
    }
    return g->action[MW_GUARD_SUM] ? check_sums(g, dtype, f, violated, first) : violated;
}

/* ---- limits ---- */

int mw_guard_keeps(const mw_guard *g, const mw_guard_limit *limit, mw_dtype dtype, const mw_found_output *f,
                   const mw_view *other, int mend, mw_guard_example *first) {
    mw_guard_rows r = mw_guard_rows_of(g, f);
    uint64_t given = (uint64_t)other->elements, width = r.rows ? given / r.rows : 0, column = 0;
    int by_element = limit->column < 0 && given == f->elements;
    *first = (mw_guard_example){MW_NO_ELEMENT, NAN, NAN};
    if (f->elements == 0) return 1;
    if (!by_element) {
        if (width == 0 || width * r.rows != given) return 0;
        if (limit->column < 0 ? width != 1 : (uint64_t)limit->column >= width) return 0;
        column = limit->column < 0 ? 0 : (uint64_t)limit->column;
    }
    for (uint64_t i = 0; i < f->elements; i++) {
        uint64_t at = by_element ? i : i / r.columns * width + column;
        double value = mw_any_number(f->data, dtype, i), bound = mw_any_number(other->raw.data, other->dtype, at);
        if (limit->kind == MW_GUARD_NOT_ABOVE ? value <= bound : value >= bound) continue;
        if (!mend) *first = (mw_guard_example){i, value, bound};
        if (!mend || bound != bound || value != value) return 0;
        mw_store_any(f->data, dtype, i, mw_guard_bound(bound, dtype, limit->kind == MW_GUARD_NOT_ABOVE));
    }
    return 1;
}

/* ---- rising and falling ---- */

typedef struct { /* of one row of one input */
    const uint8_t *data;
    uint64_t size; /* bytes of a row; 0: it is one for all rows */
} input_row;

static input_row row_of(const mw_view *input, uint64_t row, uint64_t rows) {
    uint64_t elements = (uint64_t)input->elements, size = mw_dtype_size(input->dtype);
    if (elements == 0 || elements % rows) return (input_row){input->raw.data, 0};
    return (input_row){input->raw.data + elements / rows * row * size, elements / rows * size};
}

/* Whether a row of all inputs is like the next, but for one number of one input: `size` bytes at `at` of its row. */
static int are_alike_but(const mw_view *inputs, uint32_t count, uint64_t row, uint64_t rows, uint32_t index,
                         uint64_t at, uint64_t size) {
    for (uint32_t i = 0; i < count; i++) {
        input_row r = row_of(&inputs[i], row, rows);
        const uint8_t *next = r.data + r.size;
        if (i != index && r.size && memcmp(r.data, next, r.size)) return 0;
        if (i != index) continue;
        if (memcmp(r.data, next, at) || memcmp(r.data + at + size, next + at + size, r.size - at - size)) return 0;
    }
    return 1;
}

int mw_guard_follows(const mw_guard *g, const mw_guard_limit *limit, mw_dtype dtype, const mw_found_output *f,
                     const mw_view *inputs, uint32_t count, mw_guard_example *first) {
    mw_guard_rows r = mw_guard_rows_of(g, f);
    const mw_view *input = &inputs[limit->index];
    uint64_t size = mw_dtype_size(input->dtype), column = limit->column < 0 ? 0 : (uint64_t)limit->column;
    *first = (mw_guard_example){MW_NO_ELEMENT, NAN, NAN};
    if (r.rows < 2 || r.columns == 0 || input->elements == 0) return 1;
    uint64_t width = (uint64_t)input->elements / r.rows;
    if (width * r.rows != (uint64_t)input->elements || column >= width) return 0;
    for (uint64_t row = 0; row + 1 < r.rows; row++) {
        double from = mw_any_number(input->raw.data, input->dtype, row * width + column);
        double to = mw_any_number(input->raw.data, input->dtype, (row + 1) * width + column);
        if (!(from < to || from > to)) continue;
        if (!are_alike_but(inputs, count, row, r.rows, limit->index, column * size, size)) continue;
        double before = mw_any_number(f->data, dtype, (row + 1) * r.columns - 1);
        double after = mw_any_number(f->data, dtype, (row + 2) * r.columns - 1);
        double rise = (from < to) == (limit->kind == MW_GUARD_RISES_WITH) ? after - before : before - after;
        if (rise >= -g->tolerance || before == after) continue; /* equal infinite numbers have no difference */
        *first = (mw_guard_example){(row + 2) * r.columns - 1, after, before};
        return 0;
    }
    return 1;
}

/* ---- what adds up over answers ---- */

static uint64_t rows_of_label(const mw_guard *g, int64_t label, mw_dtype dtype, const mw_found_output *f) {
    mw_guard_rows r = mw_guard_rows_of(g, f);
    uint64_t count = 0;
    if (!g->classes) {
        for (uint64_t i = 0; i < f->elements; i++) count += mw_any_number(f->data, dtype, i) == (double)label;
        return count;
    }
    mw_class_scores scores = {f->data, r.rows, r.columns, dtype, g->logits};
    for (uint64_t row = 0; r.columns && row < r.rows; row++)
        count += mw_class_scores_label(&scores, row).label == label;
    return count;
}

static uint64_t rows_above(const mw_guard *g, double above, mw_dtype dtype, const mw_found_output *f) {
    mw_guard_rows r = mw_guard_rows_of(g, f);
    uint64_t count = 0;
    for (uint64_t row = 0; r.columns && row < r.rows; row++) {
        int is_above = 0;
        for (uint64_t i = 0; i < r.columns; i++) is_above |= mw_any_number(f->data, dtype, row * r.columns + i) > above;
        count += (uint64_t)is_above;
    }
    return count;
}

uint64_t mw_guard_amount(const mw_guard *g, const mw_budget *b, mw_dtype dtype, const mw_found_output *f) {
    double sum = 0;
    if (b->of == MW_BUDGET_LABEL) return rows_of_label(g, b->label, dtype, f);
    if (b->of == MW_BUDGET_ABOVE) return rows_above(g, b->above, dtype, f);
    for (uint64_t i = 0; i < f->elements; i++) {
        double value = mw_any_number(f->data, dtype, i);
        if (value > 0 || value != value) sum += value;
    }
    double units = ceil(sum / b->unit); /* more than the whole budget is as much as any amount; so is NaN */
    return units <= 2.0 * (double)MW_BUDGET_MOST ? (uint64_t)units : 2 * MW_BUDGET_MOST;
}

uint64_t mw_guard_total(const mw_guard *g, mw_dtype dtype, const mw_found_output *f, double *sum) {
    mw_guard_rows r = mw_guard_rows_of(g, f);
    uint64_t column = g->mean.column < r.columns ? g->mean.column : r.columns - 1;
    *sum = 0;
    for (uint64_t row = 0; r.columns && row < r.rows; row++)
        *sum += mw_any_number(f->data, dtype, row * r.columns + column);
    return r.columns && isfinite(*sum) ? r.rows : 0;
}
