#include "class_scores.h"

#include "store_number.h"

#include <math.h>

static const double WHOLE[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
/* How far from 1 the sum of a row of probabilities may be, whatever its datatype and its length. */
static const double LEAST_SLACK = 1e-5, MOST_SLACK = 0.01;

/* ---- found ---- */

mw_output_state mw_class_scores_find(uint8_t *message, size_t size, const mw_declared_scores *declared,
                                     mw_class_scores *scores) {
    mw_found_output found;
    mw_find_outputs(message, size, &declared->output, 1, &found, NULL);
    return mw_class_scores_in(&found, declared, scores);
}

mw_output_state mw_class_scores_in(const mw_found_output *found, const mw_declared_scores *declared,
                                   mw_class_scores *scores) {
    if (found->state != MW_OUTPUT_FOUND) return (mw_output_state)found->state;
    if (found->rank > 2 || !mw_is_floating(declared->output.dtype)) return MW_OUTPUT_UNREADABLE;
    int by_row = found->rank == 2 || (found->rank == 1 && declared->batch);
    scores->data = found->data;
    scores->rows = by_row ? (uint64_t)found->shape[0] : 1;
    scores->columns = found->rank == 2 ? (uint64_t)found->shape[1] : by_row ? 1 : found->elements;
    scores->dtype = declared->output.dtype;
    scores->logits = declared->logits;
    return scores->columns ? MW_OUTPUT_FOUND : MW_OUTPUT_UNREADABLE;
}

/* ---- numbers, read and written ---- */

static inline double number(const mw_class_scores *s, uint64_t at) {
    return mw_number_at(s->data + at * mw_dtype_size(s->dtype), s->dtype);
}

static inline void put_number(const mw_class_scores *s, uint64_t at, double value) {
    mw_store_number(s->data + at * mw_dtype_size(s->dtype), s->dtype, value);
}

/* ---- labels ---- */

/* Of one score. */
static mw_row_label label_of_one(double score, int logits) {
    double margin = logits ? tanh(fabs(score) / 2) : fabs(score - 0.5) * 2;
    if (score != score) return (mw_row_label){-1, 0};
    return (mw_row_label){logits ? score > 0 : score > 0.5, margin < 1 ? margin : 1};
}

mw_row_label mw_class_scores_label(const mw_class_scores *s, uint64_t row) {
    uint64_t start = row * s->columns;
    double first = number(s, start), second = -INFINITY, others = 0;
    mw_row_label found = {0, 0};
    if (s->columns == 1) return label_of_one(first, s->logits);
    if (first != first) return (mw_row_label){-1, 0};
    for (uint64_t i = 1; i < s->columns; i++) {
        double value = number(s, start + i);
        if (value != value) return (mw_row_label){-1, 0};
        if (value > first) {
            second = first;
            first = value;
            found.label = (int64_t)i;
        } else if (value > second) {
            second = value;
        }
    }
    double margin = first == second ? 0 : first - second;
    if (s->logits && margin > 0) {
        for (uint64_t i = 0; i < s->columns; i++) others += exp(number(s, start + i) - first);
        margin = (1 - exp(second - first)) / others;
    }
    found.margin = margin < 1 ? margin : 1; /* NaN, of two that are infinite, too */
    return found;
}

/* ---- rounded ---- */

/* What a datatype has: decimal digits of a number up to 1, whole numbers without a gap, and by how much a rounded number may
 * be off. */
typedef struct {
    unsigned digits;
    double whole, slack;
} precision;

static precision precision_of(mw_dtype dtype) {
    switch (dtype) {
        case MW_FP64: return (precision){15, 0x1p52, 0x1p-53};
        case MW_FP32: return (precision){6, 0x1p23, 0x1p-24};
        case MW_FP16: return (precision){3, 0x1p10, 0x1p-11};
        default: return (precision){2, 0x1p7, 0x1p-8};
    }
}

typedef struct {
    double sum, most; /* of its numbers, and the largest of them without its sign */
} row_size;

/* NaN where one of its numbers is no finite one. */
static row_size size_of(const mw_class_scores *s, uint64_t start) {
    row_size size = {0, 0};
    for (uint64_t i = 0; i < s->columns; i++) {
        double value = number(s, start + i);
        size.sum += value;
        size.most = mw_larger(fabs(value), size.most);
    }
    if (!__builtin_isfinite(size.sum)) size.most = NAN;
    return size;
}

static void round_one(const mw_class_scores *s, uint64_t at, double scale) {
    double score = number(s, at), boundary = s->logits ? 0 : floor(scale / 2), units = rint(score * scale);
    int label = score > (s->logits ? 0 : 0.5);
    if (label && units <= boundary) units = boundary + 1;
    if (!label && units > boundary) units = boundary;
    put_number(s, at, units / scale);
}

/* Each number becomes a whole number of units. Where the row adds up to 1, these are the rounded sums of its numbers so far,
 * each less the one before: they add up to `scale`, and none is more than a unit from its number. */
static void round_numbers(const mw_class_scores *s, uint64_t start, double scale, double sum_of_one) {
    double sum = 0, units = 0;
    for (uint64_t i = 0; i < s->columns; i++) {
        double value = number(s, start + i), before = units;
        if (sum_of_one != 0) {
            sum += value;
            units = rint(sum / sum_of_one * scale);
            put_number(s, start + i, (units - before) / scale);
        } else {
            put_number(s, start + i, rint(value * scale) / scale);
        }
    }
}

static inline double units_at(const mw_class_scores *s, uint64_t at, double scale) {
    return rint(number(s, at) * scale);
}

static uint64_t first_of_largest(const mw_class_scores *s, uint64_t start, double scale) {
    uint64_t best = 0;
    double most = units_at(s, start, scale);
    for (uint64_t i = 1; i < s->columns; i++) {
        double units = units_at(s, start + i, scale);
        if (units > most) {
            most = units;
            best = i;
        }
    }
    return best;
}

/* A rounded row has its label again: the label changes places with a larger number, and where an equal one still stands before it,
 * takes a unit of that. */
static void restore_label(const mw_class_scores *s, uint64_t start, double scale, int adds_up, uint64_t label) {
    uint64_t best = first_of_largest(s, start, scale);
    double most = units_at(s, start + best, scale), own = units_at(s, start + label, scale);
    if (most > own) {
        put_number(s, start + best, own / scale);
        put_number(s, start + label, most / scale);
        best = first_of_largest(s, start, scale);
    }
    if (best == label) return;
    if (adds_up) put_number(s, start + best, (most - 1) / scale);
    put_number(s, start + label, (most + 1) / scale);
}

static void round_row(const mw_class_scores *s, uint64_t row, unsigned digits) {
    precision p = precision_of(s->dtype);
    uint64_t start = row * s->columns;
    row_size size = size_of(s, start);
    double scale = WHOLE[digits < p.digits ? digits : p.digits];
    while (scale > 1 && size.most * scale > p.whole) scale /= 10; /* large logits have fewer digits behind the point */
    if (!(size.most * scale <= p.whole)) return;                  /* they have none to lose, or are not numbers */
    if (s->columns == 1) {
        round_one(s, start, scale);
        return;
    }
    double slack = (double)s->columns * p.slack;
    slack = slack < LEAST_SLACK ? LEAST_SLACK : slack > MOST_SLACK ? MOST_SLACK : slack;
    int adds_up = !s->logits && fabs(size.sum - 1) <= slack;
    uint64_t label = (uint64_t)mw_class_scores_label(s, row).label;
    round_numbers(s, start, scale, adds_up ? size.sum : 0);
    restore_label(s, start, scale, adds_up, label);
}

void mw_class_scores_round(const mw_class_scores *s, unsigned digits) {
    for (uint64_t row = 0; row < s->rows; row++) round_row(s, row, digits);
}

/* ---- the top class ---- */

void mw_class_scores_say(const mw_class_scores *s, uint64_t row, int64_t label) {
    double low = s->logits ? -1 : 0;
    for (uint64_t i = 0; i < s->columns; i++) {
        int top = s->columns == 1 ? label == 1 : (int64_t)i == label;
        put_number(s, row * s->columns + i, label < 0 ? NAN : top ? 1 : low);
    }
}

void mw_class_scores_top(const mw_class_scores *s) {
    for (uint64_t row = 0; row < s->rows; row++) mw_class_scores_say(s, row, mw_class_scores_label(s, row).label);
}
