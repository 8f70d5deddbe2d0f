# Declarations of modelward_native/outputs/class_scores.h and find_outputs.h, which say what each means.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.request.tensor cimport MW_MAX_RANK, mw_dtype, mw_span

cdef extern from "find_outputs.h" nogil:
    enum:
        MW_FIND_OUTPUTS

    ctypedef enum mw_output_state:
        MW_OUTPUT_ABSENT
        MW_OUTPUT_FOUND
        MW_OUTPUT_UNREADABLE

    ctypedef struct mw_declared_output:
        mw_span name
        mw_dtype dtype

    ctypedef struct mw_found_output:
        uint8_t state
        uint32_t rank
        int64_t shape[MW_MAX_RANK]
        uint64_t elements
        uint8_t *data
        uint8_t in_spare

    ctypedef struct mw_spare_bytes:
        uint8_t *data
        size_t size
        size_t used

    int mw_find_outputs(
        uint8_t *message, size_t size, const mw_declared_output *, uint32_t count, mw_found_output *, mw_spare_bytes *)

cdef extern from "class_scores.h" nogil:
    ctypedef struct mw_declared_scores:
        mw_declared_output output
        uint8_t logits
        uint8_t batch

    ctypedef struct mw_class_scores:
        uint8_t *data
        uint64_t rows
        uint64_t columns
        mw_dtype dtype
        uint8_t logits

    ctypedef struct mw_row_label:
        int64_t label
        double margin

    mw_output_state mw_class_scores_find(uint8_t *message, size_t size, const mw_declared_scores *, mw_class_scores *)
    mw_output_state mw_class_scores_in(const mw_found_output *, const mw_declared_scores *, mw_class_scores *)
    mw_row_label mw_class_scores_label(const mw_class_scores *, uint64_t row)
    void mw_class_scores_round(const mw_class_scores *, unsigned digits)
    void mw_class_scores_top(const mw_class_scores *)
    void mw_class_scores_say(const mw_class_scores *, uint64_t row, int64_t label)
