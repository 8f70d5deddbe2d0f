# Declarations of modelward_native/shadow/shadow_stats.h, and the stats as objects.
from libc.stdint cimport int64_t, uint64_t

from modelward_native.shadow.compare cimport mw_comparison
from modelward_native.shadow.sketch cimport MW_SCORE_CELLS
from modelward_native.telemetry.histogram cimport mw_histogram

cdef extern from "shadow_stats.h" nogil:
    enum:
        MW_SHADOW_WINDOW

    ctypedef enum mw_shadow_drop:
        MW_DROP_WAITING
        MW_DROP_PERMITS
        MW_DROP_BYTES
        MW_DROP_BUSY
        MW_DROP_YIELDED
        MW_DROP_VOID
        MW_DROP_DEADLINE
        MW_DROPS

    ctypedef struct mw_shadow_stats:
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
        uint64_t dropped[<int>MW_DROPS]
        uint64_t score_primary[MW_SCORE_CELLS]
        uint64_t score_shadow[MW_SCORE_CELLS]
        mw_histogram latency_primary
        mw_histogram latency_shadow

    void mw_shadow_record(mw_shadow_stats *f, const mw_comparison *c, int64_t primary_ns, int64_t shadow_ns)
    void mw_shadow_add(mw_shadow_stats *to, const mw_shadow_stats *given)
    void mw_shadow_fail(mw_shadow_stats *f, bint primary_failed, bint shadow_failed)

    ctypedef struct mw_shadow_window:
        uint64_t written
        double primary[MW_SHADOW_WINDOW]
        double shadow[MW_SHADOW_WINDOW]

    void mw_window_record(mw_shadow_window *w, const mw_comparison *c)

cdef class Stats:
    cdef mw_shadow_stats stats
    cdef mw_shadow_window window
