# Declarations of modelward_native/shadow/sketch.h and score_cell.h, which say what each means.
from libc.stdint cimport uint64_t

from modelward_native.request.tensor cimport mw_span
from modelward_native.shadow.compare cimport mw_compare_scratch

cdef extern from "score_cell.h" nogil:
    enum:
        MW_SCORE_CELLS
        MW_SCORE_HALF
        MW_SCORE_LEAST
    unsigned mw_score_cell(double score)

cdef extern from "sketch.h" nogil:
    enum:
        MW_SKETCH_ANSWER
    int mw_sketch_add(uint64_t *cells, mw_span answer, mw_compare_scratch *scratch)
