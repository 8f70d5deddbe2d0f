"""The histogram kernel as an object, for set-up and tests; the data plane embeds mw_histogram and records in place."""
from libc.stdint cimport int64_t, uint64_t

BOUNDS = tuple(mw_histogram_bounds[i] for i in range(MW_HISTOGRAM_BOUNDS))  # in units, each an edge of a cell
EDGES = tuple(mw_histogram_edge(cell) for cell in range(MW_CELLS))          # upper edge of each cell, in units
SIZE = sizeof(mw_histogram)                                                 # bytes


def cell(uint64_t value):
    """Index of the cell that holds a value: EDGES[cell - 1] < value <= EDGES[cell]."""
    return mw_histogram_cell(value)


cdef class Histogram:
    """Counts of values in whole units (nanoseconds, or millionths of a score): see modelward_native/telemetry/histogram.h."""

    def record(self, uint64_t value):
        mw_histogram_record(&self.histogram, value)

    def record_ns(self, int64_t ns):
        mw_histogram_record_ns(&self.histogram, ns)

    def record_score(self, double score):
        mw_histogram_record_score(&self.histogram, score)

    @property
    def sum(self):
        """Of the values, in units."""
        return self.histogram.sum

    @property
    def count(self):
        """How many values were recorded."""
        return mw_histogram_count(&self.histogram)

    def fold(self, bounds):
        """How many values were at most each bound (units, ascending). ValueError if one is not the edge of a cell."""
        cdef uint64_t[MW_CELLS] edges, cumulative
        cdef int i, wrong, count = len(bounds)
        if count > MW_CELLS:
            raise ValueError(f"more bounds than the {MW_CELLS} cells there are")
        for i in range(count):
            edges[i] = bounds[i]
        wrong = mw_histogram_fold(&self.histogram, edges, count, cumulative)
        if wrong >= 0:
            raise ValueError(f"bound {bounds[wrong]} is not the edge of a cell, or not above the one before it")
        return [cumulative[i] for i in range(count)]

    def quantile(self, double q):
        """Upper bound of the q-quantile (0 to 1) in units: at most 12.5 % above it; None if it is above all cells."""
        cdef uint64_t edge = mw_histogram_quantile(&self.histogram, q)
        return None if edge == <uint64_t>-1 else edge
