"""Pairs of answers compared, as objects: for tests, and for reading and adding up what the data plane has summed."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from modelward_native.telemetry.histogram cimport MW_CELLS

cdef mw_compare_room room  # one for the module, under the GIL
cdef mw_comparison found

SIZE = sizeof(mw_shadow_figures)                                    # bytes
WINDOW = MW_SHADOW_WINDOW                                           # pairs of scores
DROPS = ("waiting", "places", "bytes", "busy", "yielded", "void", "deadline")   # in the order of mw_shadow_drop
STATUS = ("compared", "primary unreadable", "shadow unreadable")


def _score_edges():
    positive = [2.0 ** (MW_SCORE_LEAST + place // 4) * (1 + place % 4 / 4.0) for place in range(MW_SCORE_HALF)]
    return (*(-edge for edge in reversed(positive)), *positive)


SCORE_EDGES = _score_edges()  # between the cells of a score, ascending: one fewer than there are cells


def score_cell(double score):
    """Index of the cell of a score that is not NaN."""
    return mw_score_cell(score)


SKETCH_ANSWER = MW_SKETCH_ANSWER  # what one answer adds to the cells of a sketch


cdef mw_span span_of(bytes b):
    cdef mw_span s
    s.data = <const uint8_t *>PyBytes_AS_STRING(b)
    s.size = PyBytes_GET_SIZE(b)
    return s


def compare(bytes primary not None, bytes shadow not None, double tolerance):
    mw_compare_pair(span_of(primary), span_of(shadow), tolerance, &room, &found)
    return {
        "status": STATUS[<int>found.status],
        "outputs": found.outputs,
        "missing": found.missing,
        "extra": found.extra,
        "datatype": found.datatype,
        "shape": found.shape,
        "unreadable": found.unreadable,
        "labels": found.labels,
        "labels_differ": found.labels_differ,
        "numbers": found.numbers,
        "differences": found.differences,
        "beyond": found.beyond,
        "nan_primary": found.nan_primary,
        "nan_shadow": found.nan_shadow,
        "nan_both": found.nan_both,
        "unseen": found.unseen,
        "disagreement": found.disagreement,
        "absolute_sum": found.absolute_sum,
        "absolute_max": found.absolute_max,
        "relative_sum": found.relative_sum,
        "relative_max": found.relative_max,
        "scores": [(found.score_primary[i], found.score_shadow[i]) for i in range(found.scores)],
    }


def sketch(bytes answer not None):
    """What the answer adds to the cells of a version's scores."""
    cdef uint64_t[MW_SCORE_CELLS] cells
    cdef int i
    memset(cells, 0, sizeof(cells))
    mw_sketch_add(cells, span_of(answer), &room)
    return [cells[i] for i in range(MW_SCORE_CELLS)]


def measure_sketch(bytes answer not None, int64_t rounds):
    """Nanoseconds to add this answer to a sketch."""
    cdef uint64_t[MW_SCORE_CELLS] cells
    cdef mw_span span = span_of(answer)
    cdef int64_t start = clock_ns(), _round
    memset(cells, 0, sizeof(cells))
    for _round in range(rounds):
        mw_sketch_add(cells, span, &room)
    return (clock_ns() - start) / <double>rounds


cdef dict sums_of(const mw_shadow_figures *f):
    return {
        "compared": f.compared,
        "primary_failed": f.primary_failed,
        "shadow_failed": f.shadow_failed,
        "both_failed": f.both_failed,
        "disagreement": f.disagreement,
        "disagreeing": f.disagreeing,
        "unreadable_answers": f.unreadable_answers,
        "missing": f.missing,
        "extra": f.extra,
        "datatype": f.datatype,
        "shape": f.shape,
        "unreadable": f.unreadable,
        "labels": f.labels,
        "labels_differ": f.labels_differ,
        "numbers": f.numbers,
        "differences": f.differences,
        "beyond": f.beyond,
        "nan_primary": f.nan_primary,
        "nan_shadow": f.nan_shadow,
        "nan_both": f.nan_both,
        "unseen": f.unseen,
        "absolute_sum": f.absolute_sum,
        "absolute_max": f.absolute_max,
        "relative_sum": f.relative_sum,
        "relative_max": f.relative_max,
        "dropped": {DROPS[i]: f.dropped[i] for i in range(<int>MW_DROPS)},
        "score_primary": [f.score_primary[i] for i in range(MW_SCORE_CELLS)],
        "score_shadow": [f.score_shadow[i] for i in range(MW_SCORE_CELLS)],
        "latency_primary": [f.latency_primary.cell[i] for i in range(MW_CELLS)],
        "latency_shadow": [f.latency_shadow.cell[i] for i in range(MW_CELLS)],
    }


cdef class Figures:
    """Sums over pairs, and the window of their last scores: see modelward_native/shadow/compare.h."""

    def record(self, bytes primary not None, bytes shadow not None, double tolerance=0.001, int64_t primary_ns=0,
               int64_t shadow_ns=0):
        mw_compare_pair(span_of(primary), span_of(shadow), tolerance, &room, &found)
        mw_shadow_record(&self.figures, &found, primary_ns, shadow_ns)
        mw_window_record(&self.window, &found)

    def fail(self, bint primary_failed, bint shadow_failed):
        mw_shadow_fail(&self.figures, primary_failed, shadow_failed)

    def add(self, Figures other not None):
        mw_shadow_add(&self.figures, &other.figures)

    def sums(self):
        return sums_of(&self.figures)

    def scores(self):
        """The pairs of scores in the window, oldest first."""
        cdef uint64_t i, count = min(self.window.written, <uint64_t>MW_SHADOW_WINDOW)
        cdef uint64_t first = self.window.written - count
        return [(self.window.primary[i % MW_SHADOW_WINDOW], self.window.shadow[i % MW_SHADOW_WINDOW])
                for i in range(first, first + count)]


cdef int64_t clock_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


def measure(bytes primary not None, bytes shadow not None, int64_t rounds):
    """Nanoseconds to compare this pair and to add it to figures and window."""
    cdef Figures figures = Figures()
    cdef mw_span one = span_of(primary), other = span_of(shadow)
    cdef int64_t start = clock_ns(), _round
    for _round in range(rounds):
        mw_compare_pair(one, other, 0.001, &room, &found)
        mw_shadow_record(&figures.figures, &found, 1000000, 1000000)
        mw_window_record(&figures.window, &found)
    return (clock_ns() - start) / <double>rounds
