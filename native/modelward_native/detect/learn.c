#include <string.h>

#include "fingerprint.h"

/* When a phase has what it needs: so many distinct rows, or fewer after a time (tenths of a second). */
typedef struct {
    uint32_t rows, fewer, after;
} needs;

static const needs NEEDS[] = {
    [MW_WATCH_MEASURING] = {MW_WATCH_SAMPLE, 8192, MW_WATCH_DAY / 3},
    [MW_WATCH_FILLING] = {70000, 10000, MW_WATCH_DAY / 3},
    [MW_WATCH_LEARNING] = {100000, 20000, MW_WATCH_DAY / 3},
    [MW_WATCH_ARMED] = {UINT32_MAX, 20000, MW_WATCH_DAY},
};
enum { CLAIM_FOR = 600 }; /* tenths of a second, after which another process may begin: the first one has died */

static const double MARGIN_SHARE[MW_WATCH_EDGES] = {.01, .03, .10, .30};

mw_watch_progress mw_watch_progress_of(const mw_watch_shared *m) {
    const uint32_t phase = __atomic_load_n(&m->phase, __ATOMIC_ACQUIRE),
                   of = phase < MW_WATCH_ARMED ? phase : MW_WATCH_ARMED;
    return (mw_watch_progress){of, mw_field_get(*(of == MW_WATCH_MEASURING ? &m->sampled : &m->counts.rows)),
                               NEEDS[of].rows, NEEDS[of].fewer, mw_field_get(m->began) + NEEDS[of].after};
}

int mw_watch_claim(mw_watch *w, uint32_t now) {
    mw_watch_shared *m = w->shared;
    const mw_watch_progress so_far = mw_watch_progress_of(m);
    uint32_t claimed = mw_field_get(m->claimed);
    if (so_far.rows < so_far.needed && (so_far.rows < so_far.fewer || now < so_far.from)) return 0;
    return claimed <= now &&
           __atomic_compare_exchange_n(&m->claimed, &claimed, now + CLAIM_FOR, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* The edge below which at most such a share of margins lies: where many are equal, none of them. */
static void measure_margins(mw_watch_shared *m) {
    double all = 0;
    for (int b = 0; b < MW_WATCH_MARGINS; b++) all += m->counts.margin[b];
    for (int k = 0; k < MW_WATCH_EDGES; k++) {
        double below = 0;
        uint32_t b = 0;
        for (; b < MW_WATCH_MARGINS - 1 && below + m->counts.margin[b] <= MARGIN_SHARE[k] * all; b++)
            below += m->counts.margin[b];
        m->margin_edge[k] = mw_margin_from(b);
    }
}

void mw_watch_learn(mw_watch *w, uint32_t now, uint64_t room[MW_WATCH_ROOM]) {
    mw_watch_shared *m = w->shared;
    const uint32_t phase = mw_field_get(m->phase), spare = 1 - (mw_field_get(m->table) & 1);
    if (phase == MW_WATCH_MEASURING) {
        mw_watch_measure(w, room);
        measure_margins(m); /* for good: shares are learnt of the levels between these edges */
        memset(m->piece, 0, sizeof m->piece);
    }
    mw_watch_make_tables(&m->counts, w->group, &m->tables[spare]);
    memset(&m->counts, 0, sizeof m->counts);
    __atomic_store_n(&m->table, spare, __ATOMIC_RELEASE);
    mw_field_set(m->began, now);
    __atomic_store_n(&m->phase, phase < MW_WATCH_ARMED ? phase + 1 : phase, __ATOMIC_RELEASE);
    mw_field_set(m->claimed, 0);
}
