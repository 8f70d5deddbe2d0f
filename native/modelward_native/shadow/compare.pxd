# Declarations of modelward_native/shadow/compare.h, which says what each means.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.telemetry.histogram cimport mw_histogram
from modelward_native.request.tensor cimport mw_span

cdef extern from "compare.h" nogil:
    enum:
        MW_COMPARE_SCORES
        MW_SCORE_CELLS
        MW_SCORE_HALF
        MW_SCORE_LEAST
        MW_SHADOW_WINDOW

    ctypedef struct mw_compare_room:
        pass

    ctypedef enum mw_comparison_status:
        MW_COMPARED
        MW_PRIMARY_UNREADABLE
        MW_SHADOW_UNREADABLE

    ctypedef struct mw_comparison:
        mw_comparison_status status
        uint32_t outputs
        uint32_t missing
        uint32_t extra
        uint32_t datatype
        uint32_t shape
        uint32_t unreadable
        uint32_t labels
        uint32_t labels_differ
        uint32_t numbers
        uint32_t differences
        uint32_t beyond
        uint32_t nan_primary
        uint32_t nan_shadow
        uint32_t nan_both
        uint64_t unseen
        double disagreement
        double absolute_sum
        double absolute_max
        double relative_sum
        double relative_max
        uint32_t scores
        double *score_primary
        double *score_shadow

    void mw_compare_pair(mw_span primary, mw_span shadow, double tolerance, mw_compare_room *room, mw_comparison *out)

    ctypedef enum mw_shadow_drop:
        MW_DROP_WAITING
        MW_DROP_PLACES
        MW_DROP_BYTES
        MW_DROP_BUSY
        MW_DROP_YIELDED
        MW_DROP_VOID
        MW_DROP_DEADLINE
        MW_DROPS

    ctypedef struct mw_shadow_figures:
        uint64_t compared
        uint64_t primary_failed
        uint64_t shadow_failed
        uint64_t both_failed
        double disagreement
        uint64_t disagreeing
        uint64_t unreadable_answers
        uint64_t missing
        uint64_t extra
        uint64_t datatype
        uint64_t shape
        uint64_t unreadable
        uint64_t labels
        uint64_t labels_differ
        uint64_t numbers
        uint64_t differences
        uint64_t beyond
        uint64_t nan_primary
        uint64_t nan_shadow
        uint64_t nan_both
        uint64_t unseen
        double absolute_sum
        double absolute_max
        double relative_sum
        double relative_max
        uint64_t *dropped
        uint64_t *score_primary
        uint64_t *score_shadow
        mw_histogram latency_primary
        mw_histogram latency_shadow

    void mw_shadow_record(mw_shadow_figures *f, const mw_comparison *c, int64_t primary_ns, int64_t shadow_ns)
    void mw_shadow_add(mw_shadow_figures *to, const mw_shadow_figures *given)
    void mw_shadow_fail(mw_shadow_figures *f, bint primary_failed, bint shadow_failed)
    unsigned mw_score_cell(double score)

    enum:
        MW_SKETCH_ANSWER
    int mw_sketch_add(uint64_t *cells, mw_span answer, mw_compare_room *room)

    ctypedef struct mw_shadow_window:
        uint64_t written
        double *primary
        double *shadow

    void mw_window_record(mw_shadow_window *w, const mw_comparison *c)

# The figures as modelward_native.shadow.compare.Sums.
cdef dict sums_of(const mw_shadow_figures *f)

cdef class Figures:
    cdef mw_shadow_figures figures
    cdef mw_shadow_window window
