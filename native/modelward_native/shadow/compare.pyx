"""Two answers to one request, compared: for the tools that show samples and replay them, and for tests."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

cdef mw_compare_scratch SCRATCH   # one for the module, under the GIL

STATUS = ("compared", "primary unreadable", "shadow unreadable")


cdef mw_span span_of(bytes b):
    return mw_span(<const uint8_t *>PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b))


def compare(bytes primary not None, bytes shadow not None, double tolerance):
    cdef mw_comparison found
    mw_compare_pair(span_of(primary), span_of(shadow), tolerance, &SCRATCH, &found)
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
