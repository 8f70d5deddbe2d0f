/* Pairs of answers compared; compare.h says what each field of a comparison means. */
#include "compare.h"

#include "answer_output.h"

/* ---- labels that are values ---- */

static uint32_t values_that_differ(const mw_view *a, const mw_view *b, uint32_t count) {
    size_t each = mw_dtype_size(a->dtype);
    uint32_t differ = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *one = a->raw.data + i * each, *other = b->raw.data + i * each;
        differ += a->dtype == MW_BOOL ? !*one != !*other : memcmp(one, other, each) != 0;
    }
    return differ;
}

/* -1 where the primary's strings do not fill its tensor, else -2 where the shadow's do not. Strings are compared as far as
 * MW_COMPARE_WIRE bytes of them: two that are equal so far and of one length count as equal. */
static int64_t strings_that_differ(const mw_view *a, const mw_view *b, uint32_t count) {
    mw_span left = a->raw, right = b->raw, one, other;
    size_t left_to_read = MW_COMPARE_WIRE;
    int64_t differ = 0;
    int broken = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!mw_next_string(&left, &one)) return -1;
        broken = broken || !mw_next_string(&right, &other);
        if (broken) continue;
        size_t size = one.size < left_to_read ? one.size : left_to_read;
        differ += one.size != other.size || (size && memcmp(one.data, other.data, size) != 0);
        left_to_read -= size;
    }
    if ((int64_t)count == a->elements) {
        if (left.size) return -1;
        broken = broken || right.size;
    }
    return broken ? -2 : differ;
}

/* ---- numbers ---- */

static inline void compare_numbers(double a, double b, double tolerance, mw_comparison *out) {
    out->numbers++;
    if (a == b) {
        out->differences++;
        return;
    }
    double absolute = __builtin_fabs(a - b), size = mw_larger(__builtin_fabs(a), __builtin_fabs(b));
    if (!(absolute <= __DBL_MAX__)) { /* NaN or infinity among them, or finite numbers whose difference is not */
        int nan_a = a != a, nan_b = b != b;
        out->nan_both += (uint32_t)(nan_a && nan_b);
        out->nan_primary += (uint32_t)(nan_a && !nan_b);
        out->nan_shadow += (uint32_t)(nan_b && !nan_a);
        out->beyond += (uint32_t)!(nan_a && nan_b);
        return;
    }
    double relative = absolute / size;
    out->differences++;
    out->beyond += relative > tolerance;
    out->absolute_sum += absolute;
    out->relative_sum += relative;
    out->absolute_max = mw_larger(absolute, out->absolute_max);
    out->relative_max = mw_larger(relative, out->relative_max);
}

static void add_score(const mw_view *a, const mw_view *b, uint32_t at, mw_comparison *out) {
    double one = mw_number(a, at), other = mw_number(b, at);
    if (out->scores == MW_COMPARE_SCORES || !__builtin_isfinite(one) || !__builtin_isfinite(other)) return;
    out->score_primary[out->scores] = one;
    out->score_shadow[out->scores++] = other;
}

/* `count` elements of both; columns: length of the last axis where rows of it are scores, else 1. */
static void compare_floats(const mw_view *a, const mw_view *b, uint32_t count, uint32_t columns, int scored,
                           double tolerance, mw_comparison *out) {
    for (uint32_t i = 0; i < count; i++) compare_numbers(mw_number(a, i), mw_number(b, i), tolerance, out);
    for (uint32_t start = 0; start + columns <= count; start += columns) {
        uint32_t at = columns - 1;
        if (columns > 1) {
            uint32_t label = mw_largest(a, start, columns);
            out->labels++;
            out->labels_differ += label != mw_largest(b, start, columns);
            if (columns > 2) at = label;
        } else if (out->scores == MW_COMPARE_SCORES) {
            return;
        }
        if (scored && at < columns) add_score(a, b, start + at, out);
    }
}

/* ---- outputs ---- */

static int same(mw_span a, mw_span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The first output of that name, looked for at the same place first; `inputs` where there is none. */
static uint32_t find(const mw_scan *answer, mw_span name, uint32_t likely) {
    if (likely < answer->inputs && same(answer->input[likely].name, name)) return likely;
    uint32_t i = 0;
    while (i < answer->inputs && !same(answer->input[i].name, name)) i++;
    return i;
}

static int same_shape(const mw_scan_input *a, const mw_scan_input *b) {
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]) == 0;
}

typedef struct {
    double tolerance;
    uint32_t left; /* elements that may still be read */
    int scored;    /* a floating-point output has given its scores */
} allowance;

/* 0 where the primary's own output cannot be read. */
static int compare_output(mw_compare_scratch *scratch, uint32_t i, allowance *allowed, mw_comparison *out) {
    const mw_scan_input *mine = &scratch->primary.input[i];
    uint32_t j = find(&scratch->shadow, mine->name, i);
    mw_view a, b;
    if (!mw_output_view(&scratch->primary, i, allowed->left, scratch->primary_typed, &a)) return 0;
    if (j == scratch->shadow.inputs) {
        out->missing++;
        return 1;
    }
    const mw_scan_input *other = &scratch->shadow.input[j];
    int datatype = !same(mine->datatype, other->datatype), shape = !same_shape(mine, other);
    out->datatype += (uint32_t)datatype;
    out->shape += (uint32_t)shape;
    if (datatype || shape) return 1;
    if (!mw_output_view(&scratch->shadow, j, allowed->left, scratch->shadow_typed, &b)) {
        out->unreadable++;
        return 1;
    }
    uint32_t count = a.elements < allowed->left ? (uint32_t)a.elements : allowed->left;
    if (mw_is_floating(a.dtype)) {
        int64_t last = mine->rank > 1 ? mine->shape[mine->rank - 1] : 1;
        /* Where a row is longer than what may be read, none is read whole and none says a label. */
        uint32_t columns = last<1 ? 1 : last>(int64_t) count ? count + 1 : (uint32_t)last;
        compare_floats(&a, &b, count, columns, !allowed->scored, allowed->tolerance, out);
        allowed->scored = 1;
    } else {
        int64_t differ = a.dtype == MW_BYTES ? strings_that_differ(&a, &b, count) : values_that_differ(&a, &b, count);
        if (differ == -1) return 0;
        if (differ == -2) {
            out->unreadable++;
            return 1;
        }
        out->labels += count;
        out->labels_differ += (uint32_t)differ;
    }
    out->outputs++;
    out->unseen += (uint64_t)a.elements - count;
    allowed->left -= count;
    return 1;
}

static double disagreement(const mw_comparison *c) {
    if (c->missing || c->datatype || c->shape || c->unreadable) return 1.0;
    if (c->labels) return (double)c->labels_differ / c->labels;
    return c->numbers ? (double)c->beyond / c->numbers : 0.0;
}

void mw_compare_pair(mw_span primary, mw_span shadow, double tolerance, mw_compare_scratch *scratch,
                     mw_comparison *out) {
    allowance allowed = {tolerance, MW_COMPARE_ELEMENTS, 0};
    memset(out, 0, offsetof(mw_comparison, score_primary));
    if (mw_oip_scan_answer(primary, MW_COMPARE_WIRE, &scratch->primary) != MW_SCAN_OK) {
        out->status = MW_PRIMARY_UNREADABLE;
        return;
    }
    if (mw_oip_scan_answer(shadow, MW_COMPARE_WIRE, &scratch->shadow) != MW_SCAN_OK) {
        out->status = MW_SHADOW_UNREADABLE;
        out->disagreement = 1.0;
        return;
    }
    uint32_t outputs = scratch->primary.inputs;
    if (outputs > MW_COMPARE_OUTPUTS) outputs = MW_COMPARE_OUTPUTS;
    for (uint32_t i = 0; i < outputs; i++)
        if (!compare_output(scratch, i, &allowed, out)) {
            memset(out, 0, offsetof(mw_comparison, score_primary));
            out->status = MW_PRIMARY_UNREADABLE;
            return;
        }
    for (uint32_t i = outputs; i < scratch->primary.inputs; i++) {
        int64_t elements = mw_oip_elements(scratch->primary.input[i].shape, scratch->primary.input[i].rank);
        if (elements > 0) out->unseen += (uint64_t)elements;
    }
    uint32_t paired = scratch->primary.inputs - out->missing;
    if (scratch->shadow.inputs > paired) out->extra = scratch->shadow.inputs - paired;
    out->disagreement = disagreement(out);
}
