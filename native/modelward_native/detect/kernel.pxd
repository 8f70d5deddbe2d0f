# Declarations of modelward_native/detect/watch.h, which says what everything means.
from libc.stdint cimport int8_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from modelward_native.detect.suspicion cimport mw_signal, mw_step, mw_suspect

cdef extern from "watch.h" nogil:
    enum:
        MW_WATCH_CELLS
        MW_WATCH_OF_CELL
        MW_WATCH_PLACES
        MW_WATCH_GROUPS
        MW_WATCH_RESOLUTIONS
        MW_WATCH_PROJECTIONS
        MW_WATCH_PER_HASH
        MW_WATCH_FEATURES
        MW_WATCH_P_BINS
        MW_WATCH_NEAR
        MW_WATCH_WALK
        MW_WATCH_FLIPS
        MW_WATCH_MARGINS
        MW_WATCH_EDGES
        MW_WATCH_SAMPLE
        MW_WATCH_EXACT_LINES
        MW_WATCH_EXACT_WAYS
        MW_WATCH_LINES
        MW_WATCH_WAYS
        MW_WATCH_ROOM
        MW_WATCH_DAY
        MW_FAULT_KINDS
        MW_LABEL_NONE

    ctypedef enum mw_watch_phase:
        MW_WATCH_MEASURING
        MW_WATCH_FILLING
        MW_WATCH_LEARNING
        MW_WATCH_ARMED

    ctypedef struct mw_watch_cell_table:
        int8_t near[<int>MW_WATCH_RESOLUTIONS][<int>MW_WATCH_NEAR][3]
        int8_t walk[<int>MW_WATCH_WALK][4]
        uint8_t surprise[<int>MW_WATCH_RESOLUTIONS][<int>MW_WATCH_NEAR]

    ctypedef struct mw_watch_tables:
        mw_watch_cell_table cell[<int>MW_WATCH_CELLS]
        uint8_t s[<int>MW_WATCH_PLACES + 1][<int>MW_WATCH_P_BINS]
        uint8_t flip_hot[<int>MW_WATCH_RESOLUTIONS][<int>MW_WATCH_GROUPS]
        float surge[<int>MW_WATCH_CELLS][2]

    ctypedef struct mw_watch_counts:
        uint32_t p[<int>MW_WATCH_CELLS + 1][<int>MW_WATCH_P_BINS]
        uint16_t p_of_place[<int>MW_WATCH_PLACES][<int>MW_WATCH_P_BINS]
        uint32_t near[<int>MW_WATCH_RESOLUTIONS][<int>MW_WATCH_CELLS][<int>MW_WATCH_NEAR]
        uint32_t walk[<int>MW_WATCH_CELLS][<int>MW_WATCH_WALK]
        uint32_t flips[<int>MW_WATCH_RESOLUTIONS][<int>MW_WATCH_GROUPS][<int>MW_WATCH_FLIPS]
        uint32_t margin[<int>MW_WATCH_MARGINS]
        uint32_t rows

    ctypedef struct mw_watch_region:
        float evidence[4]
        uint32_t locked

    ctypedef struct mw_watch_fault:
        uint32_t until
        uint32_t identities

    ctypedef struct mw_watch_faults:
        uint32_t usual
        uint32_t asked_count
        mw_watch_fault kind[<int>MW_FAULT_KINDS]

    ctypedef struct mw_watch_shared:
        uint64_t key
        uint32_t used
        uint32_t phase
        uint32_t began
        uint32_t claimed
        uint32_t table
        uint32_t sampled
        float inverse_width[<int>MW_WATCH_RESOLUTIONS]
        float margin_edge[<int>MW_WATCH_EDGES]
        float inverse_radius[<int>MW_WATCH_CELLS]
        mw_watch_region region[<int>MW_WATCH_CELLS]
        mw_watch_faults faults
        mw_watch_counts counts
        mw_watch_tables tables[2]
        uint32_t exact[<int>MW_WATCH_EXACT_LINES][<int>MW_WATCH_EXACT_WAYS]
        uint64_t piece[<int>MW_WATCH_RESOLUTIONS][<int>MW_WATCH_LINES][<int>MW_WATCH_WAYS]

    ctypedef struct mw_watch:
        mw_watch_shared *shared
        uint64_t secret
        int32_t features
        int32_t projected
        const int32_t *feature
        const float *projection
        const uint8_t *group
        uint32_t day

    ctypedef struct mw_watched:
        uint64_t row
        uint64_t piece[<int>MW_WATCH_RESOLUTIONS]
        uint16_t at
        uint8_t bin
        uint8_t hashed
        uint16_t place

    ctypedef struct mw_watch_answer_of:
        int32_t label
        float margin
        float weight
        float near_most
        uint8_t acted

    ctypedef struct mw_watch_seen:
        mw_step before
        mw_step step
        mw_signal signal
        int32_t first_label
        uint8_t repeated
        uint8_t withheld

    void mw_watch_draw(mw_watch *w, int32_t *feature, float *projection)
    void mw_watch_group_cells(const float *center, int32_t cells, int32_t dimensions, uint8_t *group)
    void mw_watch_new_day(mw_watch *w, uint32_t day)
    void mw_watch_row(mw_watch *w, const float *row, int32_t columns, int32_t at, int32_t prototype, double p_value,
                      uint64_t identity, mw_watched *out)
    void mw_watch_answer(mw_watch *w, mw_suspect *s, uint64_t key, const mw_watched *row, const mw_watch_answer_of *answer,
                         uint32_t day, uint32_t now, uint32_t block_for, mw_watch_seen *out)
    ctypedef struct mw_watch_progress:
        uint32_t phase
        uint32_t rows
        uint32_t needed
        uint32_t fewer
        uint32_t from_ "from"

    mw_watch_progress mw_watch_progress_of(const mw_watch_shared *m)
    bint mw_watch_claim(mw_watch *w, uint32_t now)
    void mw_watch_learn(mw_watch *w, uint32_t now, uint64_t *room)
    void mw_watch_make_tables(const mw_watch_counts *counts, const uint8_t *group, mw_watch_tables *to)
    uint32_t mw_watch_measure(mw_watch *w, uint64_t *room)
