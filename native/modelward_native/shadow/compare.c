/* Pairs of answers compared; compare.h says what each figure means. */
#include "compare.h"

/* ---- the elements of an output ---- */

/* Output i of a scanned answer as raw elements, its first `most` where its contents are typed: these are converted into
 * `typed`. 0 where its contents do not fill its shape. A BYTES tensor's strings are checked where they are read. */
static int output_view(const mw_scan *answer, uint32_t i, uint32_t most, uint8_t *typed, mw_view *view) {
    const mw_scan_input *tensor = &answer->input[i];
    view->dtype = mw_dtype_of(tensor->datatype);
    view->elements = mw_oip_elements(tensor->shape, tensor->rank);
    if (view->dtype == MW_INVALID || view->elements < 0 || tensor->shared_memory) return 0;
    size_t each = mw_dtype_size(view->dtype);
    if (answer->raws) {
        if (tensor->contents_kinds || answer->raws != answer->inputs) return 0;
        view->raw = answer->raw[i];
        return each ? view->raw.size == (size_t)view->elements * each : (size_t)view->elements <= view->raw.size / 4;
    }
    int kind = mw_oip_contents_kind(view->dtype);
    view->raw = (mw_span){typed, 0};
    if (tensor->contents_kinds & ~(1u << kind)) return 0;
    if (view->elements == 0) return !tensor->contents_kinds;
    if (!kind || tensor->contents_count[kind] != (uint64_t)view->elements) return 0;
    uint64_t count = view->elements < most ? (uint64_t)view->elements : most;
    view->raw.size = mw_oip_contents_start(tensor, view->dtype, count, typed, MW_COMPARE_TYPED);
    return each == 0 || view->raw.size == count * each;
}

static inline double larger(double a, double b) { return a > b ? a : b; }

static inline float single_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The bits moved to a float's places, whose exponent is counted from 127 where a half's is from 15. */
static inline float half_to_float(uint16_t half) {
    uint32_t size = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16;
    if (size >= 0x7c00u << 13) return single_of(sign | size | 0x7f800000u);
    return single_of(sign | 0x3f800000u) * (single_of(size) * 0x1p112f);
}

/* Element i of a tensor of floating-point numbers. */
static inline double number(const mw_view *v, uint32_t i) {
    float single;
    double wide;
    uint16_t half;
    switch (v->dtype) {
        case MW_FP32: memcpy(&single, v->raw.data + (size_t)i * 4, 4); return single;
        case MW_FP64: memcpy(&wide, v->raw.data + (size_t)i * 8, 8); return wide;
        case MW_BF16:
            memcpy(&half, v->raw.data + (size_t)i * 2, 2);
            return single_of((uint32_t)half << 16);
        default: memcpy(&half, v->raw.data + (size_t)i * 2, 2); return half_to_float(half);
    }
}

static int is_floating(mw_dtype t) { return t == MW_FP16 || t == MW_BF16 || t == MW_FP32 || t == MW_FP64; }

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

/* The next length-prefixed string. */
static int next_string(mw_span *rest, mw_span *string) {
    uint32_t length;
    if (rest->size < sizeof length) return 0;
    memcpy(&length, rest->data, sizeof length);
    if (rest->size - sizeof length < length) return 0;
    *string = (mw_span){rest->data + sizeof length, length};
    *rest = (mw_span){string->data + length, rest->size - sizeof length - length};
    return 1;
}

/* -1 where the primary's strings do not fill its tensor, else -2 where the shadow's do not. Strings are compared as far as
 * MW_COMPARE_WIRE bytes of them: two that are equal so far and of one length count as equal. */
static int64_t strings_that_differ(const mw_view *a, const mw_view *b, uint32_t count) {
    mw_span left = a->raw, right = b->raw, one, other;
    size_t room = MW_COMPARE_WIRE;
    int64_t differ = 0;
    int broken = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!next_string(&left, &one)) return -1;
        broken = broken || !next_string(&right, &other);
        if (broken) continue;
        size_t size = one.size < room ? one.size : room;
        differ += one.size != other.size || (size && memcmp(one.data, other.data, size) != 0);
        room -= size;
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
    double absolute = __builtin_fabs(a - b), size = larger(__builtin_fabs(a), __builtin_fabs(b));
    if (!(absolute <= __DBL_MAX__)) {  /* NaN or infinity among them, or finite numbers whose difference is not */
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
    out->absolute_max = larger(absolute, out->absolute_max);
    out->relative_max = larger(relative, out->relative_max);
}

/* Column of the largest of a row of the tensor, the first of equal ones; `columns` where one is NaN. */
static uint32_t largest(const mw_view *v, uint32_t start, uint32_t columns) {
    uint32_t best = 0;
    double most = number(v, start);
    for (uint32_t i = 1; i < columns; i++) {
        double value = number(v, start + i);
        if (value != value) return columns;
        if (value > most) {
            most = value;
            best = i;
        }
    }
    return most != most ? columns : best;
}

static void add_score(const mw_view *a, const mw_view *b, uint32_t at, mw_comparison *out) {
    double one = number(a, at), other = number(b, at);
    if (out->scores == MW_COMPARE_SCORES || !__builtin_isfinite(one) || !__builtin_isfinite(other)) return;
    out->score_primary[out->scores] = one;
    out->score_shadow[out->scores++] = other;
}

/* `count` elements of both; columns: length of the last axis where rows of it are scores, else 1. */
static void compare_floats(const mw_view *a, const mw_view *b, uint32_t count, uint32_t columns, int scored,
                           double tolerance, mw_comparison *out) {
    for (uint32_t i = 0; i < count; i++) compare_numbers(number(a, i), number(b, i), tolerance, out);
    for (uint32_t start = 0; start + columns <= count; start += columns) {
        uint32_t at = columns - 1;
        if (columns > 1) {
            uint32_t label = largest(a, start, columns);
            out->labels++;
            out->labels_differ += label != largest(b, start, columns);
            if (columns > 2) at = label;
        } else if (out->scores == MW_COMPARE_SCORES) {
            return;
        }
        if (scored && at < columns) add_score(a, b, start + at, out);
    }
}

/* ---- outputs ---- */

static int same(mw_span a, mw_span b) { return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0); }

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
    uint32_t left;       /* elements that may still be read */
    int scored;          /* a floating-point output has given its scores */
} allowance;

/* 0 where the primary's own output cannot be read. */
static int compare_output(mw_compare_room *room, uint32_t i, allowance *allowed, mw_comparison *out) {
    const mw_scan_input *mine = &room->primary.input[i];
    uint32_t j = find(&room->shadow, mine->name, i);
    mw_view a, b;
    if (!output_view(&room->primary, i, allowed->left, room->primary_typed, &a)) return 0;
    if (j == room->shadow.inputs) {
        out->missing++;
        return 1;
    }
    const mw_scan_input *other = &room->shadow.input[j];
    int datatype = !same(mine->datatype, other->datatype), shape = !same_shape(mine, other);
    out->datatype += (uint32_t)datatype;
    out->shape += (uint32_t)shape;
    if (datatype || shape) return 1;
    if (!output_view(&room->shadow, j, allowed->left, room->shadow_typed, &b)) {
        out->unreadable++;
        return 1;
    }
    uint32_t count = a.elements < allowed->left ? (uint32_t)a.elements : allowed->left;
    if (is_floating(a.dtype)) {
        int64_t last = mine->rank > 1 ? mine->shape[mine->rank - 1] : 1;
        /* Where a row is longer than what may be read, none is read whole and none says a label. */
        uint32_t columns = last < 1 ? 1 : last > (int64_t)count ? count + 1 : (uint32_t)last;
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

void mw_compare_pair(mw_span primary, mw_span shadow, double tolerance, mw_compare_room *room, mw_comparison *out) {
    allowance allowed = {tolerance, MW_COMPARE_ELEMENTS, 0};
    memset(out, 0, offsetof(mw_comparison, score_primary));
    if (mw_oip_scan_answer(primary, MW_COMPARE_WIRE, &room->primary) != MW_SCAN_OK) {
        out->status = MW_PRIMARY_UNREADABLE;
        return;
    }
    if (mw_oip_scan_answer(shadow, MW_COMPARE_WIRE, &room->shadow) != MW_SCAN_OK) {
        out->status = MW_SHADOW_UNREADABLE;
        out->disagreement = 1.0;
        return;
    }
    uint32_t outputs = room->primary.inputs;
    if (outputs > MW_COMPARE_OUTPUTS) outputs = MW_COMPARE_OUTPUTS;
    for (uint32_t i = 0; i < outputs; i++)
        if (!compare_output(room, i, &allowed, out)) {
            memset(out, 0, offsetof(mw_comparison, score_primary));
            out->status = MW_PRIMARY_UNREADABLE;
            return;
        }
    for (uint32_t i = outputs; i < room->primary.inputs; i++) {
        int64_t elements = mw_oip_elements(room->primary.input[i].shape, room->primary.input[i].rank);
        if (elements > 0) out->unseen += (uint64_t)elements;
    }
    uint32_t paired = room->primary.inputs - out->missing;
    if (room->shadow.inputs > paired) out->extra = room->shadow.inputs - paired;
    out->disagreement = disagreement(out);
}

/* ---- figures ---- */

/* Exponent and two bits of fraction are neighbours in a double, so that their place is one shift. */
unsigned mw_score_cell(double score) {
    uint64_t bits;
    double size = __builtin_fabs(score);
    memcpy(&bits, &size, sizeof bits);
    int64_t place = (int64_t)(bits >> 50) - 4 * (1023 + MW_SCORE_LEAST);
    if (place < 0) return MW_SCORE_HALF;
    if (place >= MW_SCORE_HALF) place = MW_SCORE_HALF - 1;
    return (unsigned)(score < 0 ? MW_SCORE_HALF - 1 - place : MW_SCORE_HALF + 1 + place);
}

void mw_shadow_record(mw_shadow_figures *f, const mw_comparison *c, int64_t primary_ns, int64_t shadow_ns) {
    if (c->status == MW_PRIMARY_UNREADABLE) {
        f->dropped[MW_DROP_VOID]++;
        return;
    }
    f->compared++;
    f->disagreement += c->disagreement;
    f->disagreeing += c->disagreement > 0;
    f->unreadable_answers += c->status == MW_SHADOW_UNREADABLE;
    f->missing += c->missing;
    f->extra += c->extra;
    f->datatype += c->datatype;
    f->shape += c->shape;
    f->unreadable += c->unreadable;
    f->labels += c->labels;
    f->labels_differ += c->labels_differ;
    f->numbers += c->numbers;
    f->differences += c->differences;
    f->beyond += c->beyond;
    f->nan_primary += c->nan_primary;
    f->nan_shadow += c->nan_shadow;
    f->nan_both += c->nan_both;
    f->unseen += c->unseen;
    f->absolute_sum += c->absolute_sum;
    f->relative_sum += c->relative_sum;
    f->absolute_max = larger(c->absolute_max, f->absolute_max);
    f->relative_max = larger(f->relative_max, c->relative_max);
    for (uint32_t i = 0; i < c->scores; i++) {
        f->score_primary[mw_score_cell(c->score_primary[i])]++;
        f->score_shadow[mw_score_cell(c->score_shadow[i])]++;
    }
    mw_histogram_record_ns(&f->latency_primary, primary_ns);
    mw_histogram_record_ns(&f->latency_shadow, shadow_ns);
}

static void add_counts(uint64_t *to, const uint64_t *from, unsigned count) {
    for (unsigned i = 0; i < count; i++) to[i] += from[i];
}

void mw_shadow_add(mw_shadow_figures *to, const mw_shadow_figures *from) {
    to->compared += from->compared;
    to->primary_failed += from->primary_failed;
    to->shadow_failed += from->shadow_failed;
    to->both_failed += from->both_failed;
    to->disagreement += from->disagreement;
    to->disagreeing += from->disagreeing;
    to->unreadable_answers += from->unreadable_answers;
    to->missing += from->missing;
    to->extra += from->extra;
    to->datatype += from->datatype;
    to->shape += from->shape;
    to->unreadable += from->unreadable;
    to->labels += from->labels;
    to->labels_differ += from->labels_differ;
    to->numbers += from->numbers;
    to->differences += from->differences;
    to->beyond += from->beyond;
    to->nan_primary += from->nan_primary;
    to->nan_shadow += from->nan_shadow;
    to->nan_both += from->nan_both;
    to->unseen += from->unseen;
    to->absolute_sum += from->absolute_sum;
    to->relative_sum += from->relative_sum;
    to->absolute_max = larger(to->absolute_max, from->absolute_max);
    to->relative_max = larger(to->relative_max, from->relative_max);
    add_counts(to->dropped, from->dropped, MW_DROPS);
    add_counts(to->score_primary, from->score_primary, MW_SCORE_CELLS);
    add_counts(to->score_shadow, from->score_shadow, MW_SCORE_CELLS);
    to->latency_primary.sum += from->latency_primary.sum;
    to->latency_shadow.sum += from->latency_shadow.sum;
    add_counts(to->latency_primary.cell, from->latency_primary.cell, MW_CELLS);
    add_counts(to->latency_shadow.cell, from->latency_shadow.cell, MW_CELLS);
}

void mw_window_record(mw_shadow_window *w, const mw_comparison *c) {
    for (uint32_t i = 0; i < c->scores; i++) {
        w->primary[w->written % MW_SHADOW_WINDOW] = c->score_primary[i];
        w->shadow[w->written % MW_SHADOW_WINDOW] = c->score_shadow[i];
        w->written++;
    }
}

/* ---- one answer's scores ---- */

/* Element i of a tensor of integers or booleans. */
static double whole(const mw_view *v, uint32_t i) {
    const uint8_t *at = v->raw.data + (size_t)i * mw_dtype_size(v->dtype);
    int64_t wide;
    int32_t word;
    int16_t half;
    switch (v->dtype) {
        case MW_BOOL: return *at != 0;
        case MW_INT8: return (int8_t)*at;
        case MW_UINT8: return *at;
        case MW_INT16: memcpy(&half, at, 2); return half;
        case MW_UINT16: memcpy(&half, at, 2); return (uint16_t)half;
        case MW_INT32: memcpy(&word, at, 4); return word;
        case MW_UINT32: memcpy(&word, at, 4); return (uint32_t)word;
        case MW_UINT64: memcpy(&wide, at, 8); return (double)(uint64_t)wide;
        default: memcpy(&wide, at, 8); return (double)wide;
    }
}

/* Cell of a string: a hash of its size, its first and its last eight bytes, which is a few ns however long it is. */
static unsigned cell_of_string(mw_span s) {
    uint64_t first = 0, last = 0;
    size_t size = s.size < 8 ? s.size : 8;
    if (size) {
        memcpy(&first, s.data, size);
        memcpy(&last, s.data + s.size - size, size);
    }
    uint64_t hash = (first ^ s.size) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32 ^ last) * 0xd6e8feb86659fd93u;
    return (unsigned)((hash >> 32) % MW_SCORE_CELLS);
}

/* Cell of the score of the row whose first `width` numbers begin at `start`: its only one, the second of two, or of more
 * the largest. */
static unsigned cell_of_row(const mw_view *v, uint32_t start, uint32_t width) {
    uint32_t at = width <= 2 ? width - 1 : largest(v, start, width);
    return at == width ? MW_SCORE_CELLS - 1 : mw_score_cell(number(v, start + at));
}

static uint32_t cells_of_floats(const mw_view *v, const mw_scan_input *output, unsigned *cell) {
    int64_t columns = output->rank > 1 ? output->shape[output->rank - 1] : 1;
    uint32_t most = v->elements < MW_SKETCH_ELEMENTS ? (uint32_t)v->elements : MW_SKETCH_ELEMENTS, count = 0;
    if (columns < 1) return 0;
    uint32_t width = columns < most ? (uint32_t)columns : most;
    for (uint32_t start = 0; width && count < MW_COMPARE_SCORES && start + width <= most; start += width)
        cell[count++] = cell_of_row(v, start, width);
    return count;
}

static uint32_t cells_of_labels(const mw_view *v, unsigned *cell) {
    uint32_t most = v->elements < MW_COMPARE_SCORES ? (uint32_t)v->elements : MW_COMPARE_SCORES, count = 0;
    mw_span rest = v->raw, string;
    for (; count < most; count++) {
        if (v->dtype != MW_BYTES) cell[count] = mw_score_cell(whole(v, count));
        else if (next_string(&rest, &string)) cell[count] = cell_of_string(string);
        else break;
    }
    return count;
}

int mw_sketch_add(uint64_t cells[MW_SCORE_CELLS], mw_span answer, mw_compare_room *room) {
    const mw_scan *scan = &room->primary;
    unsigned cell[MW_COMPARE_SCORES];
    uint32_t chosen = 0;
    mw_view view;
    if (mw_oip_scan_answer(answer, MW_COMPARE_WIRE, &room->primary) != MW_SCAN_OK || !scan->inputs) return 0;
    while (chosen < scan->inputs && !is_floating(mw_dtype_of(scan->input[chosen].datatype))) chosen++;
    if (chosen == scan->inputs) chosen = 0;
    const mw_scan_input *output = &scan->input[chosen];
    if (!output_view(&room->primary, chosen, MW_SKETCH_ELEMENTS, room->primary_typed, &view)) return 0;
    uint32_t count = is_floating(view.dtype) ? cells_of_floats(&view, output, cell) : cells_of_labels(&view, cell);
    for (uint32_t i = 0; i < count; i++) cells[cell[i]] += MW_SKETCH_ANSWER / count;
    return count != 0;
}
