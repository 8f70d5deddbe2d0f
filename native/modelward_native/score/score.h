/* The anomaly kernel: one row of a request's inputs gathered into standardised features, its distance to the nearest
 * training rows (prototypes of them, in cells), a conformal p-value, an explanation.
 *
 * No Python, no allocation, no clock, no I/O. The profile is immutable: any number of threads may score with it, each
 * with a row, a scratch and a gather of its own. modelward/score/ fits what is described here and says why it is so. */
#ifndef MODELWARD_SCORE_H
#define MODELWARD_SCORE_H

#include "tensor.h"

enum {
    MW_SCORE_PANEL = 64,      /* distances measured at once: four registers of AVX-512, eight of AVX2 */
    MW_SCORE_PROTOTYPES = 32, /* of one cell, side by side in memory: two cells fill a panel */
    MW_SCORE_MAX_CELLS = 128,
    MW_SCORE_PROBES = 4,      /* nearest cells whose prototypes are looked at */
    MW_SCORE_NEIGHBOURS = 10, /* training rows whose distances are averaged, at most */
    MW_SCORE_KNOTS = 32,      /* of a feature's quantile curve */
    MW_SCORE_LANES = 16,      /* floats in the widest register; mapped rows and the metric are padded to this */
    MW_SCORE_EXPLAINED = 3,
    MW_SCORE_MAX_VALUES = 4096,   /* elements of one row of one input that become features one by one */
    MW_SCORE_FIXED_BLOCKS = 64,   /* a longer row: mean and deviation of this many blocks */
    MW_SCORE_VARYING_BLOCKS = 16, /* a row whose length varies: of this many blocks, and the logarithm of its length */
};

/* Score of a row that was caught before the distance, and the bound of every other score: far above any distance of a
 * row within range, and finite, so that sums, histograms and JSON survive it. */
#define MW_SCORE_LIMIT 1e9

/* Views of a feature are cut here: far outside of what was trained, and small enough for the squares of sums. */
#define MW_SCORE_CLIP 1e3f

typedef enum {
    MW_SCORE_NOT_A_NUMBER = 1,     /* a NaN or an infinity */
    MW_SCORE_OUT_OF_RANGE = 2,     /* a value far outside of what was trained (Geometry.low, .high) */
    MW_SCORE_UNKNOWN_CATEGORY = 4, /* a BYTES element that no training row held */
} mw_score_flag;

typedef struct {
    double score;    /* higher is more anomalous; MW_SCORE_LIMIT where a flag is set */
    double p_value;  /* 0 exactly where a flag is set; otherwise in (0, 1], falling in score */
    uint32_t flags;  /* mw_score_flag, or-ed */
    int32_t nearest; /* prototype: MW_SCORE_PROTOTYPES x its cell, and which of the cell; -1 where a flag is set */
    int32_t cell;    /* whose mean is nearest, 0 .. cells - 1; -1 where a flag is set */
} mw_score;

typedef enum {
    MW_INPUT_VALUES = 0, /* every element is a feature */
    MW_INPUT_BLOCKS,     /* more than MW_SCORE_MAX_VALUES elements: mean, deviation of each of FIXED_BLOCKS blocks */
    MW_INPUT_VARYING,    /* elements per row vary: mean, deviation of VARYING_BLOCKS blocks, then log(1 + elements) */
    MW_INPUT_CATEGORIES, /* BYTES: every element is a column with categories of its own */
    MW_INPUT_WORDS,      /* BYTES, more than MW_SCORE_MAX_VALUES or varying: all elements share one column */
    MW_INPUT_KINDS
} mw_input_kind;

typedef struct {
    mw_input_kind kind;
    int64_t elements;     /* per row; -1 where they vary */
    int32_t first, width; /* features (numeric kinds) or columns (BYTES kinds) of this input in the row */
} mw_profile_input;

/* One category column: an open-addressing table over the profile's words. */
typedef struct {
    uint32_t first_slot, mask; /* slots first_slot .. first_slot + mask, mask + 1 a power of two, never full */
    uint32_t longest;          /* bytes; a longer element is unknown without being hashed */
    uint8_t open;              /* new values are ordinary here: nothing is looked up */
} mw_profile_column;

/* A piece of a feature's quantile curve: value + slope * (z - base). */
typedef struct {
    float base, value, slope;
} mw_profile_segment;

/* Every pointer is into memory of the Kernel that built the profile (modelward_native/score/score.pyx), which outlives its use.
 * f features, c category columns, d dimensions, n cells, N = n padded to MW_SCORE_PANEL, F = f padded to MW_SCORE_LANES. */
typedef struct {
    int32_t inputs, features, columns;
    int32_t dimensions; /* where distances are measured: f, or 2 f with two views */
    int32_t cells, padded_cells, padded_features;
    int32_t probes;                        /* nearest cells looked at: at most MW_SCORE_PROBES, and n */
    int32_t neighbours;                    /* 1 .. MW_SCORE_NEIGHBOURS */
    float weight[MW_SCORE_NEIGHBOURS + 1]; /* of the k nearest rows together, by k */
    const mw_profile_input *input;         /* [inputs] */
    const double *mean, *inverse_scale;    /* [f] standardised = (value - mean) * inverse_scale */
    const float *low, *high;               /* [f] standardised bounds of the plausible */
    const float *middle,
        *inverse_quartile; /* [f] robust view = (standardised - middle) * inverse_quartile; NULL: one view */
    const float *knot;     /* [f][KNOTS] rising; the quantile view is of segment (knots that are not above) */
    const mw_profile_segment *segment; /* [f][KNOTS + 1] */
    const float *metric;               /* [F/16][f][16] mapped quantile view = view x metric */
    const float *mean_of_cell;         /* [N/64][d][64] means of cells; padding is so far that it is never nearest */
    const float *cell_radius; /* [n] root mean square of the distances of training rows from their cell's mean */
    const float *prototype;   /* [n][d][32] padded in the same way */
    const int32_t *count;     /* [n][32] training rows behind each, at most NEIGHBOURS; 0 for padding */
    int32_t knots;            /* of the calibration, at least 1 */
    const double *knot_score, *knot_p; /* [knots] score rising, p-value falling; linear between, 1 below the first */
    double tail_index;                 /* above the last knot p falls as (1 + score) to the power -tail_index */
    const mw_profile_column *column;   /* [c] */
    const uint32_t *slot;              /* 1 + index of a word; 0 where empty */
    const uint64_t *word;              /* [words + 1] offsets into text */
    const uint8_t *text;
} mw_profile;

/* Floats of a row (features, then one per category column: 1 where the category is unknown) and of a scratch: distances, and
 * with two views the mapped row and the quantile view before the metric. */
static inline size_t mw_score_row_size(const mw_profile *p) { return (size_t)p->features + (size_t)p->columns; }
static inline size_t mw_score_scratch_size(const mw_profile *p) {
    const size_t distances = MW_SCORE_MAX_CELLS + MW_SCORE_PROBES * MW_SCORE_PROTOTYPES;
    return distances + (p->middle ? 2 * (size_t)p->features + (size_t)p->padded_features : 0);
}

typedef enum { MW_TARGET_BEST = 0, MW_TARGET_PLAIN, MW_TARGET_AVX2 } mw_score_target;

/* The best instruction set is chosen when the library is loaded. Tests and benchmarks try the others, before any thread
 * scores: -1 where the machine does not have it. */
int mw_score_use(mw_score_target target);

/* Bounded whatever the row: at most 256 distances. Cost: see tests/bench/bench_score.py. */
void mw_score_row(const mw_profile *p, const float *row, float *scratch, mw_score *out);

/* The columns of the row that deviate most, worst first: feature i, or features + i for category column i, and by how
 * many standard deviations (signed) from the nearest prototype, or from the training mean where the row was caught.
 * A value that is not a number and an unknown category deviate by +INFINITY. Unused places hold -1 and 0. */
void mw_score_explain(const mw_profile *p, const float *row, const mw_score *s, int32_t feature[MW_SCORE_EXPLAINED],
                      float deviation[MW_SCORE_EXPLAINED]);

double mw_score_p_value(const mw_profile *p, double score);

/* n raw values into standardised ones of features first .. first + n. NaN and infinities become NaN; what would leave
 * float's range is clamped, which is out of range everywhere. */
void mw_score_standardise(const mw_profile *p, int32_t first, int32_t n, const double *value, float *row);

/* Enters words first .. first + words into the column's slots, which are zero and more than twice as many. */
void mw_score_index(const mw_profile_column *c, uint32_t *slot, const uint64_t *word, const uint8_t *text,
                    uint32_t first, uint32_t words);

/* Whether element is a category of the column. */
int mw_score_known(const mw_profile *p, int32_t column, mw_span element);

/* ---- from a request's tensors to rows ---- */

typedef struct {
    const mw_profile *profile;
    const mw_view *view; /* [profile->inputs], in the profile's order; the request's, which outlives this */
    int64_t rows, next;
    size_t cursor[MW_MAX_TENSORS]; /* BYTES: where the next row begins; elements have no fixed size */
} mw_gather;

/* Returns 0, or -1 where the tensors do not have this many rows of what the profile was fitted on, or fewer bytes than
 * they claim: such a request has no score. BYTES elements are checked as they are read. */
int mw_gather_begin(mw_gather *g, const mw_profile *p, const mw_view *view, int64_t rows);

/* The next row, in order: 1, 0 after the last, -1 where a BYTES element leaves its tensor. Data needs no alignment. */
int mw_gather_row(mw_gather *g, float *row);

#endif
