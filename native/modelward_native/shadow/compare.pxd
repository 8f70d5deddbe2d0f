# Declarations of modelward_native/shadow/compare.h, which says what each means.
from libc.stdint cimport uint32_t, uint64_t

from modelward_native.request.tensor cimport mw_span

cdef extern from "compare.h" nogil:
    enum:
        MW_COMPARE_SCORES

    ctypedef struct mw_compare_scratch:
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
        double score_primary[MW_COMPARE_SCORES]
        double score_shadow[MW_COMPARE_SCORES]

    void mw_compare_pair(mw_span primary, mw_span shadow, double tolerance, mw_compare_scratch *scratch, mw_comparison *out)

cdef mw_span span_of(bytes b)
