"""Log-linear histograms; telemetry embeds mw_histogram in its own structs."""
from libc.stdint cimport int64_t, uint64_t


cdef extern from "histogram.h" nogil:
    enum:
        MW_CELLS
        MW_HISTOGRAM_BOUNDS

    const double MW_SCORE_UNIT
    const uint64_t *mw_histogram_bounds

    ctypedef struct mw_histogram:
        uint64_t sum
        uint64_t[242] cell

    unsigned mw_histogram_cell(uint64_t value)
    uint64_t mw_histogram_edge(unsigned cell)
    void mw_histogram_record(mw_histogram *h, uint64_t value)
    void mw_histogram_record_ns(mw_histogram *h, int64_t ns)
    void mw_histogram_record_score(mw_histogram *h, double score)
    uint64_t mw_histogram_count(const mw_histogram *h)
    int mw_histogram_fold(const mw_histogram *h, const uint64_t *bounds, int count, uint64_t *cumulative)
    uint64_t mw_histogram_quantile(const mw_histogram *h, double q)


cdef class Histogram:
    cdef mw_histogram histogram
