/* The circuit breaker of one endpoint: when failures take it out, for how long, and what brings it back. Time is an
 * argument; a few counters, no allocation.
 *
 * Closed, open, half-open after Nygard, "Release It!" (2007), chapter 5; what opens it and the ejections that grow with
 * their number after Envoy's outlier detection. A result counts while the breaker is closed. Failures in a row open
 * it, or a window in which too few of enough results were good. Open, it lets nothing through until the ejection has
 * passed; then it is half-open: one trial at a time, whose success closes it and whose failure opens it again. */
#ifndef MODELWARD_BREAKER_H
#define MODELWARD_BREAKER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { MW_BREAKER_SLOTS = 10 };

typedef enum { MW_BREAKER_CLOSED, MW_BREAKER_HALF_OPEN, MW_BREAKER_OPEN } mw_breaker_state;

typedef enum {
    MW_BREAKER_IGNORED, /* says nothing of the endpoint: the client let go, or the request was to blame */
    MW_BREAKER_FAILURE,
    MW_BREAKER_SUCCESS,
} mw_breaker_result;

typedef struct {
    uint32_t failures; /* in a row that open it; 0: none do */
    uint32_t permille; /* of a window's results: fewer good ones open it; 0: none do */
    uint32_t volume;   /* results of a window before its rate means anything */
    int64_t slot;      /* ns, more than 0: a tenth of the window */
    int64_t ejection;  /* ns, more than 0: the first; each further one is that much longer */
    int64_t longest;   /* ns: that an ejection gets */
} mw_breaker_policy;

typedef struct {
    uint32_t good;
    uint32_t bad;
} mw_breaker_count;

/* Zeroed memory is a closed breaker. */
typedef struct {
    bool open;          /* until a trial has succeeded */
    bool trial;         /* one is in flight */
    uint32_t failures;  /* in a row */
    uint32_t ejections; /* that the length of the next one remembers; at most longest / ejection + 2 */
    int64_t since;      /* ns: when it was last opened or closed */
    int64_t until;      /* ns: end of the ejection */
    int64_t newest;     /* number of the newest slot, in slots since the clock's zero */
    mw_breaker_count count[MW_BREAKER_SLOTS]; /* by number modulo their number */
} mw_breaker;

static inline mw_breaker_state mw_breaker_state_at(const mw_breaker *b, int64_t now) {
    if (!b->open) return MW_BREAKER_CLOSED;
    return now < b->until ? MW_BREAKER_OPEN : MW_BREAKER_HALF_OPEN;
}

/* Whether the next request would be the trial. */
static inline bool mw_breaker_due(const mw_breaker *b, int64_t now) { return b->open && !b->trial && now >= b->until; }

/* A request goes to the endpoint, whatever the state: where all endpoints are out, all are used. Returns whether it is
 * the trial, which its mw_breaker_end must be told. */
static inline bool mw_breaker_begin(mw_breaker *b, int64_t now) {
    bool trial = mw_breaker_due(b, now);
    b->trial |= trial;
    return trial;
}

/* The window begins again: slots of another length have other numbers. */
static inline void mw_breaker_recount(mw_breaker *b) {
    b->newest = 0;
    memset(b->count, 0, sizeof b->count);
}

static inline void mw_breaker_change(mw_breaker *b, bool open, int64_t now) {
    b->open = open;
    b->since = now;
    b->failures = 0;
    memset(b->count, 0, sizeof b->count);
}

static inline void mw_breaker_trip(mw_breaker *b, const mw_breaker_policy *p, int64_t now) {
    /* every span of an ejection's length that passed in order forgives one */
    int64_t forgiven = b->open || now <= b->since ? 0 : (now - b->since) / p->ejection;
    b->ejections = forgiven >= b->ejections ? 1 : b->ejections - (uint32_t)forgiven + 1;
    if (b->ejections > p->longest / p->ejection + 1) b->ejections = (uint32_t)(p->longest / p->ejection + 1);
    int64_t span = p->ejection * b->ejections;
    mw_breaker_change(b, true, now);
    b->until = now + (span < p->longest ? span : p->longest);
}

/* The slot of `now`; those of times that have left the window are emptied. A clock that steps back counts in the newest. */
static inline mw_breaker_count *mw_breaker_slot(mw_breaker *b, const mw_breaker_policy *p, int64_t now) {
    int64_t number = now / p->slot;
    if (number - b->newest >= MW_BREAKER_SLOTS) {
        memset(b->count, 0, sizeof b->count);
        b->newest = number;
    }
    while (b->newest < number) b->count[++b->newest % MW_BREAKER_SLOTS] = (mw_breaker_count){0, 0};
    return &b->count[b->newest % MW_BREAKER_SLOTS];
}

static inline bool mw_breaker_poor(const mw_breaker *b, const mw_breaker_policy *p) {
    uint64_t good = 0, all = 0;
    for (int i = 0; i < MW_BREAKER_SLOTS; i++) {
        good += b->count[i].good;
        all += (uint64_t)b->count[i].good + b->count[i].bad;
    }
    return all > 0 && all >= p->volume && good * 1000 < all * p->permille;
}

/* Once per request that began. Returns whether this result took the endpoint out. */
static inline bool mw_breaker_end(mw_breaker *b, const mw_breaker_policy *p, bool trial, mw_breaker_result result,
                                  int64_t now) {
    if (trial) {
        b->trial = false;
        if (result == MW_BREAKER_SUCCESS) mw_breaker_change(b, false, now);
        if (result == MW_BREAKER_FAILURE) mw_breaker_trip(b, p, now);
        return result == MW_BREAKER_FAILURE;
    }
    if (b->open || result == MW_BREAKER_IGNORED) return false;
    mw_breaker_count *slot = mw_breaker_slot(b, p, now);
    if (result == MW_BREAKER_SUCCESS) {
        b->failures = 0;
        slot->good += slot->good < UINT32_MAX;
        return false;
    }
    b->failures += b->failures < UINT32_MAX;
    slot->bad += slot->bad < UINT32_MAX;
    if (!(p->failures && b->failures >= p->failures) && !mw_breaker_poor(b, p)) return false;
    mw_breaker_trip(b, p, now);
    return true;
}

#endif
