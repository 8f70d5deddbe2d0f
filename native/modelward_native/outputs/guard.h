/* Guards of outputs: what the numbers of an answer must be, checked and mended where they lie in it.
 *
 * Every element is checked: of FP32 by vector compares, 0.12 ns each, of other datatypes in 0.9 to 1.8 ns. No clock, no
 * allocation. What is counted for more than one answer lies in a block that all processes share. */
#ifndef MODELWARD_GUARD_H
#define MODELWARD_GUARD_H

#include "answer_output.h"
#include "answer_budget.h"
#include "class_scores.h"
#include "find_outputs.h"
#include "mean.h"
#include "store_number.h"

typedef enum {                        /* modelward_native.outputs.guards has the names, in this order */
               MW_GUARD_READABLE = 0, /* the output is in the answer, as its signature says */
               MW_GUARD_FINITE,
               MW_GUARD_RANGE,
               MW_GUARD_SUM,
               MW_GUARD_NOT_ABOVE,
               MW_GUARD_NOT_BELOW,
               MW_GUARD_RISES_WITH, /* of rows of a request that differ in one input alone */
               MW_GUARD_FALLS_WITH,
               MW_GUARD_MEAN,
               MW_GUARD_BUDGET,
               MW_GUARDS
} mw_guard_kind;

typedef enum { MW_ACT_NONE = 0, MW_ACT_OBSERVE, MW_ACT_FLAG, MW_ACT_CLIP, MW_ACT_FALLBACK, MW_ACTIONS } mw_guard_action;

enum {
    MW_GUARD_LIMITS = 8,   /* not_above, not_below, rises_with and falls_with, of one output */
    MW_GUARD_BUDGETS = 4,  /* of one output */
    MW_GUARD_VERSIONS = 4, /* whose means are remembered */
};

typedef struct { /* another tensor, whose elements bound those of the output, or with which the output rises or falls */
    uint8_t kind;     /* MW_GUARD_NOT_ABOVE to MW_GUARD_FALLS_WITH */
    uint8_t of_input; /* of the request; else an output that is guarded too */
    uint32_t index;   /* of the input in the signature; of the output among the guarded ones */
    int32_t column;   /* of each of its rows; -1: element by element, or its only one of each row */
} mw_guard_limit;

typedef struct {               /* one output, as a version is configured */
    uint8_t action[MW_GUARDS]; /* enum mw_guard_action; MW_ACT_NONE: no such guard */
    uint8_t batch;             /* as mw_declared_scores */
    uint8_t classes, logits;   /* it holds class scores */
    double low, high;          /* of the range, as the datatype rounds them; infinite: no bound */
    double sum, tolerance;
    uint32_t limits, budgets;
    mw_guard_limit limit[MW_GUARD_LIMITS];
    mw_mean mean;
    mw_budget budget[MW_GUARD_BUDGETS];
} mw_guard;

typedef struct {                             /* of one output of a model; shared by all processes and versions */
    uint64_t answers[MW_GUARDS][MW_ACTIONS]; /* that were not as the guard says, by what came of it */
    mw_budget_state budget[MW_GUARD_BUDGETS];
    mw_mean_state mean[MW_GUARD_VERSIONS];
} mw_guard_block;

#define MW_NO_ELEMENT UINT64_MAX /* the other tensor has no such rows or columns */

typedef struct { /* the first element that is not as it should be */
    uint64_t element;
    double value;
    double other; /* what it is compared with; NAN: nothing */
} mw_guard_example;

typedef struct { /* the rows of an output */
    uint64_t rows, columns;
} mw_guard_rows;

mw_guard_rows mw_guard_rows_of(const mw_guard *g, const mw_found_output *f);

/* Checks of a FOUND output that need it alone: finite, range, sum. The bits 1 << kind of what is violated. */
uint32_t mw_guard_check(const mw_guard *g, mw_dtype dtype, const mw_found_output *f, mw_guard_example *first);

/* Whether the output keeps to a limit. other: the elements that bound it. mend: those that do not become the bound. 0: it
 * does not, or the other has no such elements; mended: 1 where it does now. */
int mw_guard_keeps(const mw_guard *g, const mw_guard_limit *limit, mw_dtype dtype, const mw_found_output *f,
                   const mw_view *other, int mend, mw_guard_example *first);

/* Whether the output's last number rises, or falls, from a row to the next wherever these two rows of the inputs differ in
 * the limit's column alone. Inputs have no text. An input whose elements cannot be divided among the rows is one for all. */
int mw_guard_follows(const mw_guard *g, const mw_guard_limit *limit, mw_dtype dtype, const mw_found_output *f,
                     const mw_view *inputs, uint32_t count, mw_guard_example *first);

/* Moves numbers beyond the range to its nearest bound. 0 where one is NaN, which is near to none. */
int mw_guard_clip(const mw_guard *g, mw_dtype dtype, const mw_found_output *f);

/* What an answer takes of a budget: rows, or units. */
uint64_t mw_guard_amount(const mw_guard *g, const mw_budget *b, mw_dtype dtype, const mw_found_output *f);

/* Sum of one number of each row, and how many there are; 0 rows where one is not finite. */
uint64_t mw_guard_total(const mw_guard *g, mw_dtype dtype, const mw_found_output *f, double *sum);

/* A number of any datatype but BYTES. */
static inline double mw_any_number(const uint8_t *data, mw_dtype dtype, uint64_t i) {
    mw_view v = {{data + i * mw_dtype_size(dtype), 0}, 1, dtype};
    return mw_is_floating(dtype) ? mw_number_at(v.raw.data, dtype) : mw_integer(&v, 0);
}

static inline void mw_store_any(uint8_t *data, mw_dtype dtype, uint64_t i, double value) {
    uint8_t *at = data + i * mw_dtype_size(dtype);
    if (mw_is_floating(dtype)) mw_store_number(at, dtype, value);
    else mw_store_integer(at, dtype, value);
}

/* A bound as numbers of the datatype can be: of floating-point ones the nearest to it, of integers the next inside. */
static inline double mw_guard_bound(double bound, mw_dtype dtype, int is_high) {
    uint8_t bytes[8];
    if (!isfinite(bound)) return bound;
    if (!mw_is_floating(dtype)) return is_high ? floor(bound) : ceil(bound);
    mw_store_number(bytes, dtype, bound);
    return mw_number_at(bytes, dtype);
}

#endif
