"""Kernels of shadows as Python functions, and what they cost: for tests and tools."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from modelward_native.request.tensor cimport mw_span
from modelward_native.shadow.compare cimport mw_compare_pair, mw_compare_scratch, mw_comparison, span_of
from modelward_native.shadow.sketch cimport MW_SCORE_CELLS, mw_score_cell, mw_sketch_add
from modelward_native.shadow.stats cimport Stats, mw_shadow_record, mw_window_record
from modelward_native.timer.clock cimport mw_now_ns

cdef mw_compare_scratch SCRATCH   # one for the module, under the GIL


def score_cell(double score):
    """Index of the cell of a score that is not NaN."""
    return mw_score_cell(score)


def sketch(bytes answer not None):
    """What the answer adds to the cells of a version's scores."""
    cdef uint64_t[MW_SCORE_CELLS] cells
    cdef int i
    memset(cells, 0, sizeof(cells))
    mw_sketch_add(cells, span_of(answer), &SCRATCH)
    return [cells[i] for i in range(MW_SCORE_CELLS)]


def measure_sketch(bytes answer not None, int64_t rounds):
    """Nanoseconds to add this answer to a sketch."""
    cdef uint64_t[MW_SCORE_CELLS] cells
    cdef mw_span span = span_of(answer)
    cdef int64_t start = mw_now_ns(), _round
    memset(cells, 0, sizeof(cells))
    for _round in range(rounds):
        mw_sketch_add(cells, span, &SCRATCH)
    return (mw_now_ns() - start) / <double>rounds


def measure_compare(bytes primary not None, bytes shadow not None, int64_t rounds):
    """Nanoseconds to compare this pair and to add it to stats and window."""
    cdef Stats stats = Stats()
    cdef mw_comparison found
    cdef mw_span one = span_of(primary), other = span_of(shadow)
    cdef int64_t start = mw_now_ns(), _round
    for _round in range(rounds):
        mw_compare_pair(one, other, 0.001, &SCRATCH, &found)
        mw_shadow_record(&stats.stats, &found, 1000000, 1000000)
        mw_window_record(&stats.window, &found)
    return (mw_now_ns() - start) / <double>rounds
