/* Evidence of theft and evasion from the rows that identities send and the answers that they get: the kernel.
 *
 * Each row is looked at twice. At the message (mw_watch_row): a hash of the row, 16 secret projections of it, and from these
 * five hashes of small pieces of space, from wide to fine. At completion (mw_watch_answer): whether the row was sent before,
 * how many rows the pieces have seen, how near the answer lies to a boundary; what that says of its identity, and of the cell
 * of the profile that the row lies in. docs/design/suspicion.md has the formulas and their reasons.
 *
 * No Python, no allocation, no clock, no I/O. What is learnt and remembered of a model lies in memory that processes share;
 * each has an mw_watch of its own over it, and one thread in that. */
#ifndef MODELWARD_WATCH_H
#define MODELWARD_WATCH_H

#include "suspicion.h"

enum {
    MW_WATCH_CELLS = 128,                                /* of a profile, at most */
    MW_WATCH_OF_CELL = 32,                               /* prototypes */
    MW_WATCH_PLACES = MW_WATCH_CELLS * MW_WATCH_OF_CELL, /* rows of none have a place behind them */
    MW_WATCH_GROUPS = 16,      /* of cells that lie near each other, from which a cell borrows what it has not seen */
    MW_WATCH_RESOLUTIONS = 5,  /* 0: an identity's own rows; 1 (wide) to 4 (fine): rows of all */
    MW_WATCH_PROJECTIONS = 16, /* the first half for even resolutions, the other for odd ones */
    MW_WATCH_PER_HASH = 8,
    MW_WATCH_FEATURES = 256, /* that are projected: of a longer row, a sample */

    MW_WATCH_P_BINS = 12,
    MW_WATCH_NEAR = 9,  /* 0: no row was near; 1 to 4: few to many; 5 to 8: the same, and the last was its own */
    MW_WATCH_WALK = 50, /* surprise 0-4, margin level 0-4, flip: 10 n + 2 m + f */
    MW_WATCH_FLIPS = 5,
    MW_WATCH_MARGINS = 64, /* bins, four an octave, up to 1 */
    MW_WATCH_EDGES = 4,

    MW_WATCH_EXACT_LINES = 1 << 15, /* of 16 tags: half a million rows */
    MW_WATCH_EXACT_WAYS = 16,
    MW_WATCH_LINES = 1 << 14, /* of eight pieces, a resolution: 131,072 rows */
    MW_WATCH_WAYS = 8,

    MW_WATCH_SAMPLE = 1 << 15, /* rows from which widths are measured */
    MW_WATCH_DAY = 864000,     /* tenths of a second */

    MW_FAULT_IMPLAUSIBLE = 0, /* rows of no cell */
    MW_FAULT_UNLIKE,          /* rows that are very unlike others of their prototype */
    MW_FAULT_KINDS,
    MW_FAULT_NAMES = 4096, /* that identities are told apart by */
    MW_FAULT_RAISED = 256,

    MW_LABEL_NONE = -1,
};

typedef enum {
    MW_WATCH_MEASURING = 0, /* widths are not known: rows are collected */
    MW_WATCH_FILLING,       /* the memory of rows is filled; rows unlike the training data are evidence from here on */
    MW_WATCH_LEARNING,      /* it is known which near duplicates are rare */
    MW_WATCH_ARMED,         /* all is evidence; tables are made again each day */
} mw_watch_phase;

/* What a cell's rows are worth, in sixteenths of a nat, rounded down: strong, mild, and strong for the cell's own evidence. */
typedef struct {
    _Alignas(64) int8_t near[MW_WATCH_RESOLUTIONS][MW_WATCH_NEAR][3];
    int8_t walk[MW_WATCH_WALK][4]; /* the fourth: mild for the cell */
    uint8_t surprise[MW_WATCH_RESOLUTIONS][MW_WATCH_NEAR];
} mw_watch_cell_table;

typedef struct {
    mw_watch_cell_table cell[MW_WATCH_CELLS];
    uint8_t s[MW_WATCH_PLACES + 1][MW_WATCH_P_BINS];         /* how improbable, in sixteenths of a nat */
    uint8_t flip_hot[MW_WATCH_RESOLUTIONS][MW_WATCH_GROUPS]; /* class of flips that few rows meet; above all: none */
    float surge[MW_WATCH_CELLS][2]; /* nats of a row elsewhere, and of one here, by a young identity; 0: no evidence */
} mw_watch_tables;

/* Today's, of distinct rows. */
typedef struct {
    uint32_t p[MW_WATCH_CELLS + 1][MW_WATCH_P_BINS];
    uint16_t p_of_place[MW_WATCH_PLACES][MW_WATCH_P_BINS]; /* halved where one is full */
    uint32_t near[MW_WATCH_RESOLUTIONS][MW_WATCH_CELLS][MW_WATCH_NEAR];
    uint32_t walk[MW_WATCH_CELLS][MW_WATCH_WALK];
    uint32_t flips[MW_WATCH_RESOLUTIONS][MW_WATCH_GROUPS][MW_WATCH_FLIPS];
    uint32_t margin[MW_WATCH_MARGINS];
    uint32_t rows;
} mw_watch_counts;

typedef struct {
    float evidence[4]; /* walk strong and mild, unlike, near; of all identities that are not suspected */
    uint32_t locked;   /* until then rows of young and of suspicious identities get no answer here */
    float surge;       /* evidence that many young identities ask here, nats */
    uint32_t surge_at; /* when it was added to last ... */
    uint32_t young_at; /* ... and which row of a young identity that was */
    uint32_t surging;  /* until then young and suspicious identities get labels here, and none near a boundary */
    uint32_t asked;    /* the identity that it was of */
} mw_watch_region;

/* An identity that rows of a fault made suspicious. */
typedef struct {
    int64_t record; /* bytes from this model's memory to the identity's record: both are in one region */
    uint64_t key;   /* 0: none */
    uint32_t at;
} mw_fault_raised;

/* A fault that is no caller's doing: fault.h. */
typedef struct {
    uint32_t until;        /* rows of this kind are tolerated of quiet, established identities until then */
    uint32_t identities;   /* most that sent such rows in a window */
    uint32_t failed_count; /* in this window */
    uint32_t next;         /* place in the ring */
    uint64_t failed[MW_FAULT_NAMES / 64]; /* which ones */
    uint8_t sign[MW_FAULT_NAMES];         /* by identity: what its rows of this kind are worth, sixteenths of a nat */
    mw_fault_raised raised[MW_FAULT_RAISED];
} mw_watch_fault;

typedef struct {
    uint32_t window;      /* the number of the one that is counted now */
    uint32_t usual;       /* quiet, established identities that ask in a window, times 256 */
    uint32_t asked_count; /* in this one */
    uint64_t asked[MW_FAULT_NAMES / 64];
    mw_watch_fault kind[MW_FAULT_KINDS];
} mw_watch_faults;

typedef struct {
    float v[MW_WATCH_PROJECTIONS];
    uint64_t row;
    uint32_t at;
    uint32_t written;
} mw_watch_sampled;

/* tag 20 | rows 6 | flips 4 | first label 6 | last identity 12 | time 16, in 4 s; 0: free. */
typedef uint64_t mw_piece;

/* Of one model and profile. Zeroed, then the key is set: that is how it begins. */
typedef struct {
    _Alignas(64) uint64_t key;
    uint32_t used;    /* when a process last said that it needs it */
    uint32_t phase;   /* mw_watch_phase */
    uint32_t began;   /* when the phase did, or the last tables; tenths of a second */
    uint32_t claimed; /* until then a process computes tables */
    uint32_t table;   /* which of the two is read */
    uint32_t sampled; /* rows that took a place in the sample */
    uint32_t young;   /* rows of young identities */
    float inverse_width[MW_WATCH_RESOLUTIONS];
    float margin_edge[MW_WATCH_EDGES]; /* below which 1, 3, 10, 30 % of margins lie */
    float inverse_radius[MW_WATCH_CELLS];
    mw_watch_region region[MW_WATCH_CELLS];
    mw_watch_faults faults;
    mw_watch_counts counts;
    mw_watch_tables tables[2];
    _Alignas(64) uint32_t exact[MW_WATCH_EXACT_LINES][MW_WATCH_EXACT_WAYS];
    union {
        _Alignas(64) mw_piece piece[MW_WATCH_RESOLUTIONS][MW_WATCH_LINES][MW_WATCH_WAYS];
        mw_watch_sampled sample[MW_WATCH_SAMPLE];
    };
} mw_watch_shared;

/* One process's. */
typedef struct {
    mw_watch_shared *shared;
    uint64_t secret;         /* the server's and the profile's */
    int32_t features;        /* of a row, those for unknown categories not counted */
    int32_t projected;       /* at most MW_WATCH_FEATURES */
    const int32_t *feature;  /* [projected]; NULL: all */
    const float *projection; /* [projected][MW_WATCH_PROJECTIONS] */
    const uint8_t *group;    /* [MW_WATCH_CELLS], below MW_WATCH_GROUPS */
    uint32_t day;            /* of the salts below */
    uint64_t salt[MW_WATCH_RESOLUTIONS];
    float offset[MW_WATCH_RESOLUTIONS][MW_WATCH_PER_HASH];
    uint64_t multiplier[MW_WATCH_RESOLUTIONS][MW_WATCH_PER_HASH];
} mw_watch;

/* A row between message and completion. */
typedef struct {
    uint64_t row;
    uint64_t piece[MW_WATCH_RESOLUTIONS]; /* hashes */
    uint16_t at;                          /* cell; MW_WATCH_CELLS: none, its values were not plausible */
    uint8_t bin;                          /* of its p-value */
    uint8_t hashed;                       /* `piece` is known */
    uint16_t place;                       /* nearest prototype; MW_WATCH_PLACES: none */
} mw_watched;

typedef struct {
    int32_t label; /* MW_LABEL_NONE: not told */
    float margin;  /* between the two top classes; 1 where it is not known */
    float weight;  /* of the answer in the budget: its precision, times the rows that this one stands for */
    float
        near_most; /* evidence of near duplicates that is kept, nats: MW_EVIDENCE_MOST, less where the identity may send them */
    uint8_t acted; /* its steps are taken. Else its rows count in a block too, which refuses none of them */
} mw_watch_answer_of;

typedef struct {
    mw_step before, step; /* of the identity */
    mw_signal signal;     /* of its strongest evidence */
    int32_t
        first_label; /* the answer of a crowd of near duplicates, which this row gets too; MW_LABEL_NONE: it keeps its own */
    uint8_t repeated;
    uint8_t withheld; /* this row gets no answer of the model */
} mw_watch_seen;

/* ---- geometry.c: what does not change while a profile is served ---- */

/* The secret projections: of which features (room for MW_WATCH_FEATURES; not written where all are taken), and how (of so many
 * features, at most MW_WATCH_FEATURES, MW_WATCH_PROJECTIONS signs each). Sets w->projected, w->feature and w->projection. */
void mw_watch_draw(mw_watch *w, int32_t *feature, float *projection);

/* Groups of cells that lie near each other. center: [cells][dimensions], cells at most MW_WATCH_CELLS, dimensions at most
 * MW_WATCH_FEATURES. */
void mw_watch_group_cells(const float *center, int32_t cells, int32_t dimensions, uint8_t group[MW_WATCH_CELLS]);

/* ---- fingerprint.c ---- */

/* Salts and offsets of this day: those of one resolution change each day. */
void mw_watch_new_day(mw_watch *w, uint32_t day);

/* row: standardised features and then the flags of category columns. at: its cell, or -1. prototype: the nearest, 32 a cell, as
 * mw_score tells it. Prefetches what the answer will read. */
void mw_watch_row(mw_watch *w, const float *row, int32_t columns, int32_t at, int32_t prototype, double p_value,
                  uint64_t identity, mw_watched *out);

/* ---- evidence.c ---- */

/* One row's answer. s: its identity's record; key: that record's. now: tenths of a second. block_for: of a first block. */
void mw_watch_answer(mw_watch *w, mw_suspect *s, uint64_t key, const mw_watched *row, const mw_watch_answer_of *answer,
                     uint32_t day, uint32_t now, uint32_t block_for, mw_watch_seen *out);

/* ---- learn.c, tables.c, widths.c: what one process at a time does beside the requests ---- */

enum { MW_WATCH_ROOM = 2 * MW_WATCH_SAMPLE }; /* numbers that mw_watch_learn needs */

typedef struct {
    uint32_t phase;        /* mw_watch_phase */
    uint32_t rows, needed; /* in this phase so far, and with how many it ends; distinct ones but for the first phase */
    uint32_t fewer, from;  /* it also ends with so many from this time on */
} mw_watch_progress;

mw_watch_progress mw_watch_progress_of(const mw_watch_shared *m);

/* Whether a phase has what it needs; if so what follows is this process's to do. */
int mw_watch_claim(mw_watch *w, uint32_t now);

/* From the end of a phase to the next one; 1 ms, at the end of the first 0.1 s. */
void mw_watch_learn(mw_watch *w, uint32_t now, uint64_t room[MW_WATCH_ROOM]);

/* Tables from counts. */
void mw_watch_make_tables(const mw_watch_counts *counts, const uint8_t *group, mw_watch_tables *to);

/* Widths and radii from the sample, whose repeats are removed; returns how many rows are left. */
uint32_t mw_watch_measure(mw_watch *w, uint64_t room[MW_WATCH_ROOM]);

#endif
