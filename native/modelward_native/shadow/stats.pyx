"""What the pairs of a shadow have said, as objects: to be read and added up."""
from libc.stdint cimport int64_t, uint64_t

from modelward_native.shadow.compare cimport mw_compare_pair, mw_compare_scratch, mw_comparison, span_of
from modelward_native.telemetry.histogram cimport MW_CELLS

cdef mw_compare_scratch SCRATCH   # one for the module, under the GIL

SIZE = sizeof(mw_shadow_stats)                                      # bytes
WINDOW = MW_SHADOW_WINDOW                                           # pairs of scores
DROPS = ("waiting", "places", "bytes", "busy", "yielded", "void", "deadline")   # in the order of mw_shadow_drop


cdef class Stats:
    """Sums over pairs, and the window of their last scores: see modelward_native/shadow/shadow_stats.h."""

    def record(self, bytes primary not None, bytes shadow not None, double tolerance=0.001, int64_t primary_ns=0,
               int64_t shadow_ns=0):
        cdef mw_comparison found
        mw_compare_pair(span_of(primary), span_of(shadow), tolerance, &SCRATCH, &found)
        mw_shadow_record(&self.stats, &found, primary_ns, shadow_ns)
        mw_window_record(&self.window, &found)

    def fail(self, bint primary_failed, bint shadow_failed):
        mw_shadow_fail(&self.stats, primary_failed, shadow_failed)

    def add(self, Stats other not None):
        mw_shadow_add(&self.stats, &other.stats)

    def sums(self):
        cdef const mw_shadow_stats *s = &self.stats
        return {
            "compared": s.compared,
            "primary_failed": s.primary_failed,
            "shadow_failed": s.shadow_failed,
            "both_failed": s.both_failed,
            "disagreement": s.disagreement,
            "disagreeing": s.disagreeing,
            "unreadable_answers": s.unreadable_answers,
            "missing": s.missing,
            "extra": s.extra,
            "datatype": s.datatype,
            "shape": s.shape,
            "unreadable": s.unreadable,
            "labels": s.labels,
            "labels_differ": s.labels_differ,
            "numbers": s.numbers,
            "differences": s.differences,
            "beyond": s.beyond,
            "nan_primary": s.nan_primary,
            "nan_shadow": s.nan_shadow,
            "nan_both": s.nan_both,
            "unseen": s.unseen,
            "absolute_sum": s.absolute_sum,
            "absolute_max": s.absolute_max,
            "relative_sum": s.relative_sum,
            "relative_max": s.relative_max,
            "dropped": {DROPS[i]: s.dropped[i] for i in range(<int>MW_DROPS)},
            "score_primary": [s.score_primary[i] for i in range(MW_SCORE_CELLS)],
            "score_shadow": [s.score_shadow[i] for i in range(MW_SCORE_CELLS)],
            "latency_primary": [s.latency_primary.cell[i] for i in range(MW_CELLS)],
            "latency_shadow": [s.latency_shadow.cell[i] for i in range(MW_CELLS)],
        }

    def scores(self):
        """The pairs of scores in the window, oldest first."""
        cdef uint64_t i, count = min(self.window.written, <uint64_t>MW_SHADOW_WINDOW)
        cdef uint64_t first = self.window.written - count
        return [(self.window.primary[i % MW_SHADOW_WINDOW], self.window.shadow[i % MW_SHADOW_WINDOW])
                for i in range(first, first + count)]
