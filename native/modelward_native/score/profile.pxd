# Declarations of modelward_native/score/score.h, which says what everything means.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.request.tensor cimport mw_span, mw_view

cdef extern from "score.h" nogil:
    enum:
        MW_SCORE_PANEL
        MW_SCORE_PROTOTYPES
        MW_SCORE_MAX_CELLS
        MW_SCORE_PROBES
        MW_SCORE_NEIGHBOURS
        MW_SCORE_KNOTS
        MW_SCORE_LANES
        MW_SCORE_EXPLAINED
        MW_SCORE_MAX_VALUES
        MW_SCORE_FIXED_BLOCKS
        MW_SCORE_VARYING_BLOCKS
    const double MW_SCORE_LIMIT
    const float MW_SCORE_CLIP
    ctypedef enum mw_score_flag:
        MW_SCORE_NOT_A_NUMBER
        MW_SCORE_OUT_OF_RANGE
        MW_SCORE_UNKNOWN_CATEGORY
    ctypedef struct mw_score:
        double score
        double p_value
        uint32_t flags
        int32_t nearest
        int32_t cell
    ctypedef enum mw_input_kind:
        MW_INPUT_VALUES
        MW_INPUT_BLOCKS
        MW_INPUT_VARYING
        MW_INPUT_CATEGORIES
        MW_INPUT_WORDS
        MW_INPUT_KINDS
    ctypedef struct mw_profile_input:
        mw_input_kind kind
        int64_t elements
        int32_t first
        int32_t width
    ctypedef struct mw_profile_column:
        uint32_t first_slot
        uint32_t mask
        uint32_t longest
        uint8_t open
    ctypedef struct mw_profile_segment:
        pass
    ctypedef struct mw_profile:
        int32_t inputs
        int32_t features
        int32_t columns
        int32_t dimensions
        int32_t cells
        int32_t padded_cells
        int32_t padded_features
        int32_t probes
        int32_t neighbours
        float *weight
        const mw_profile_input *input
        const double *mean
        const double *inverse_scale
        const float *low
        const float *high
        const float *middle
        const float *inverse_quartile
        const float *knot
        const mw_profile_segment *segment
        const float *metric
        const float *mean_of_cell
        const float *cell_radius
        const float *prototype
        const int32_t *count
        int32_t knots
        const double *knot_score
        const double *knot_p
        double tail_index
        const mw_profile_column *column
        const uint32_t *slot
        const uint64_t *word
        const uint8_t *text
    ctypedef struct mw_gather:
        pass
    ctypedef enum mw_score_target:
        MW_TARGET_BEST
        MW_TARGET_PLAIN
        MW_TARGET_AVX2
    int mw_score_use(mw_score_target)
    size_t mw_score_row_size(const mw_profile *)
    size_t mw_score_scratch_size(const mw_profile *)
    void mw_score_row(const mw_profile *, const float *row, float *scratch, mw_score *out)
    void mw_score_explain(const mw_profile *, const float *row, const mw_score *, int32_t *feature, float *deviation)
    double mw_score_p_value(const mw_profile *, double score)
    void mw_score_standardise(const mw_profile *, int32_t first, int32_t n, const double *value, float *row)
    void mw_score_index(const mw_profile_column *, uint32_t *slot, const uint64_t *word, const uint8_t *text,
                        uint32_t first, uint32_t words)
    int mw_score_known(const mw_profile *, int32_t column, mw_span element)
    int mw_gather_begin(mw_gather *, const mw_profile *, const mw_view *, int64_t rows)
    int mw_gather_row(mw_gather *, float *row)
