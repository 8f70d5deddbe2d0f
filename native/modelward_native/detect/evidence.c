#include <math.h>
#include <string.h>

#include "distinct.h"
#include "fault.h"

static const float TAG = 9.2f, ROUND = 18.4f;

/* (a): means of s that are tolerated, and those that the two bets expect. */
static const float TOLERATED = 1.3f, TOLERATED_MOST = 9.0f, OWN_FACTOR = 1.3f;
static const float EXPECTED[2] = {5.0f, 2.0f}, EXPECTED_FACTOR = 1.4f;

/* An identity's own mean forgets in so many distinct rows, once it is not young and while it would not be restricted, or in so
 * much time. */
static const float OWN_ROWS = 500.0f, OWN_SECONDS = 1800.0f, OWN_MOST_SHARE = 0.02f, OWN_MOST = 8.0f;

/* Of a cell's own evidence: all traffic's mean is tolerated and expected lower; a cell is locked at so many nats for so long. */
static const float REGION_TOLERATED = 1.3f, REGION_EXPECTED = 3.0f, REGION_MOST = 20.0f, LOCK_AT = 10.0f;
/* Of young identities that ask in one cell: from so many nats on it is a surge; one nat is forgotten in so many tenths. */
static const float SURGE_AT = 9.2f, SURGE_FORGET = 100.0f;
enum { LOCK_FOR = 6000 };

enum {
    OTHERS_MOST = 2, /* category of a crowd that others made, at most, against an identity that is known */
    OWN_KIND = 4,    /* added to a category where the last row of the piece was the identity's own */
    STICKS = 3,      /* surprise from which a near duplicate gets its piece's first answer */
    WITHHELD = 4,    /* surprise, and rows, from which a young identity gets none */
    WITHHELD_ROWS = 8,
    LABEL_UNKNOWN = 63,
    PIECE_AGE = 5400, /* 6 hours, in 4 s */
    MOST_STRIKES = 8, /* that double a block */
};

static float EXP[256]; /* of sixteenths of a nat */

__attribute__((constructor)) static void fill_exp(void) {
    for (int i = 0; i < 256; i++) EXP[i] = expf((float)(i - 128) / 16.0f);
}

static float e_value(int8_t sixteenths) { return EXP[sixteenths + 128]; }

static float most(const float e[2 * MW_SIGNALS]) {
    float top = 0.0f;
    for (int i = 0; i < 2 * MW_SIGNALS; i++) top = e[i] > top ? e[i] : top;
    return top;
}

static float at_most(float value, float bound) { return value < bound ? value : bound; }

/* A CUSUM of e-values: it begins again at nothing. */
static float sum_up(float evidence, float nats, float bound) {
    return at_most((evidence > 0.0f ? evidence : 0.0f) + nats, bound);
}

/* ---- exact repeats: lines of tags in the order of their last use ---- */

static int is_repeat(mw_watch_shared *m, uint64_t row) {
    uint32_t *line = m->exact[row % MW_WATCH_EXACT_LINES];
    const uint32_t tag = (uint32_t)(row >> 32) | 1;
    int at = 0;
    while (at < MW_WATCH_EXACT_WAYS - 1 && mw_field_get(line[at]) != tag) at++;
    const int found = mw_field_get(line[at]) == tag;
    for (; at > 0; at--) mw_field_set(line[at], mw_field_get(line[at - 1]));
    mw_field_set(line[0], tag);
    return found;
}

/* ---- pieces of space ---- */

typedef struct {
    uint32_t rows, flips, label, identity, time;
} piece;

static piece unpacked(mw_piece p) {
    return (piece){(uint32_t)(p >> 38) & 63, (uint32_t)(p >> 34) & 15, (uint32_t)(p >> 28) & 63,
                   (uint32_t)(p >> 16) & 4095, (uint32_t)p & 65535};
}

static mw_piece packed(uint64_t hash, piece p) {
    return hash >> 44 << 44 | (uint64_t)p.rows << 38 | (uint64_t)p.flips << 34 | (uint64_t)p.label << 28 |
           (uint64_t)p.identity << 16 | p.time;
}

/* The place of a hash in its line: where it is, with *found, or what it may take. Ages are in 4 s; a piece is forgotten in time. */
static mw_piece *place_of(mw_piece *line, uint64_t hash, uint32_t time, int *found) {
    mw_piece *place = &line[0];
    uint32_t oldest = 0;
    *found = 0;
    for (int way = 0; way < MW_WATCH_WAYS; way++) {
        const mw_piece p = mw_field_get(line[way]);
        const uint32_t age = p ? (time - (uint32_t)p) & 65535 : 65536;
        if (p && p >> 44 == hash >> 44) {
            *found = age <= PIECE_AGE;
            return &line[way];
        }
        if (age > oldest) {
            oldest = age;
            place = &line[way];
        }
    }
    return place;
}

static uint32_t class_of_rows(uint32_t rows) { return 1 + (rows >= 3) + (rows >= 8) + (rows >= 24); }
static uint32_t class_of_flips(uint32_t f) { return (f >= 1) + (f >= 2) + (f >= 4) + (f >= 8); }

/* What the pieces say of a row. */
typedef struct {
    uint8_t near[MW_WATCH_RESOLUTIONS], flips[MW_WATCH_RESOLUTIONS];
    uint32_t surprise, flip;
    int32_t first_label;
    int hot;
} neighbourhood;

/* repeated: the row has been here, and leaves all as it is. */
static void look_around(mw_watch *w, const mw_watch_tables *t, const mw_watched *row, uint32_t who, uint32_t label,
                        uint32_t time, int repeated, neighbourhood *out) {
    const mw_watch_cell_table *cell = &t->cell[row->at];
    int met = 0;
    memset(out, 0, sizeof *out);
    out->first_label = MW_LABEL_NONE;
    for (int r = MW_WATCH_RESOLUTIONS - 1; r >= 0; r--) {
        int found;
        mw_piece *place = place_of(w->shared->piece[r][row->piece[r] % MW_WATCH_LINES], row->piece[r], time, &found);
        if (!found) {
            if (repeated) continue;
            mw_field_set(*place, packed(row->piece[r], (piece){1, 0, label, who, time}));
            continue;
        }
        piece p = unpacked(mw_field_get(*place));
        if (repeated && --p.rows == 0) continue; /* it is near itself alone */
        uint32_t j = class_of_rows(p.rows);
        const uint32_t u = class_of_flips(p.flips);
        const uint32_t of_anyone = cell->surprise[r][j];
        out->hot |= u >= t->flip_hot[r][w->group[row->at]];
        out->hot |= of_anyone >= WITHHELD && p.rows >= WITHHELD_ROWS && r > 0;
        if (of_anyone >= STICKS && r > 1 && out->first_label < 0 && p.label != LABEL_UNKNOWN)
            out->first_label = (int32_t)p.label;
        if (p.identity == who && r > 0 && !repeated) j += OWN_KIND;
        if (cell->surprise[r][j] > out->surprise) out->surprise = cell->surprise[r][j];
        const uint32_t differs = p.label != label && p.label != LABEL_UNKNOWN && label != LABEL_UNKNOWN;
        if (!met) out->flip = differs;
        met = 1;
        if (repeated) continue;
        p.rows += p.rows < 63;
        p.flips += differs && p.flips < 15;
        p.identity = who;
        p.time = time;
        mw_field_set(*place, packed(row->piece[r], p));
        out->near[r] = (uint8_t)j;
        out->flips[r] = (uint8_t)u;
    }
}

/* Which category is evidence. known: against an identity with a history, which others could have framed by near copies. */
static uint32_t near_of(const neighbourhood *around, int r, int known) {
    const uint32_t j = around->near[r];
    return known && r > 0 && j > OTHERS_MOST && j <= OWN_KIND ? OTHERS_MOST : j;
}

static uint32_t level_of(const mw_watch_shared *m, float margin) {
    uint32_t level = 0;
    for (int k = 0; k < MW_WATCH_EDGES; k++) level += margin < m->margin_edge[k];
    return level;
}

/* ---- evidence of a cell: of all identities that are not suspected ---- */

static void judge_region(mw_watch_region *region, const mw_watch_cell_table *cell, uint32_t walk,
                         const uint8_t near[MW_WATCH_RESOLUTIONS], float own, float s, uint32_t now) {
    float e[4], mean = 0.0f, top = 0.0f;
    for (int k = 0; k < 4; k++) e[k] = mw_float_get(&region->evidence[k]);
    e[0] = sum_up(e[0], cell->walk[walk][2] / 16.0f, REGION_MOST);
    e[1] = sum_up(e[1], cell->walk[walk][3] / 16.0f, REGION_MOST);
    if (own < TOLERATED)
        e[2] = sum_up(e[2], logf(REGION_TOLERATED / REGION_EXPECTED) + s * (1 / REGION_TOLERATED - 1 / REGION_EXPECTED),
                      REGION_MOST);
    for (int r = 1; r < MW_WATCH_RESOLUTIONS; r++) mean += e_value(cell->near[r][near[r]][2]);
    e[3] = sum_up(e[3], logf(mean / (MW_WATCH_RESOLUTIONS - 1)), REGION_MOST);
    for (int k = 0; k < 4; k++) {
        mw_float_set(&region->evidence[k], e[k]);
        top = e[k] > top ? e[k] : top;
    }
    if (top >= LOCK_AT) mw_field_set(region->locked, now + LOCK_FOR);
}

/* Young identities that ask in one cell, one after the other. A row counts if the last that did was another one's, so a single
 * one's burst is nothing. */
static void judge_surge(mw_watch_shared *m, mw_watch_region *region, const float nats[2], uint32_t who, uint32_t now) {
    const uint32_t young = mw_field_get(m->young) + 1, elsewhere = young - mw_field_get(region->young_at) - 1;
    const uint32_t pause = now - mw_field_get(region->surge_at);
    mw_field_set(m->young, young);
    if (nats[1] <= 0.0f || mw_field_get(region->asked) == who) return;
    mw_field_set(region->asked, who);
    float e = mw_float_get(&region->surge) + (float)elsewhere * nats[0] - (float)pause / SURGE_FORGET;
    e = sum_up(e, nats[1], REGION_MOST);
    mw_float_set(&region->surge, e);
    mw_field_set(region->young_at, young);
    mw_field_set(region->surge_at, now);
    if (e >= SURGE_AT) mw_field_set(region->surging, now + LOCK_FOR);
}

/* ---- an identity's record ---- */

static void load(const mw_suspect *s, float e[2 * MW_SIGNALS]) {
    for (int i = 0; i < 2 * MW_SIGNALS; i++) e[i] = (float)mw_field_get(s->evidence[i]) / MW_NAT;
}

/* dither: in [0, 1), so that what is smaller than a step of the number is right on average. */
static void keep(mw_suspect *s, const float e[2 * MW_SIGNALS], float dither) {
    for (int i = 0; i < 2 * MW_SIGNALS; i++) {
        const float value = e[i] > 0.0f ? e[i] * MW_NAT + dither : 0.0f;
        mw_field_set(s->evidence[i], (uint16_t)at_most(value, MW_EVIDENCE_MOST * MW_NAT));
    }
}

static void unlike(float e[2], float own, float s) {
    float null = OWN_FACTOR * own;
    null = at_most(null > TOLERATED ? null : TOLERATED, TOLERATED_MOST);
    for (int k = 0; k < 2; k++) {
        const float other = EXPECTED_FACTOR * null > EXPECTED[k] ? EXPECTED_FACTOR * null : EXPECTED[k];
        e[k] = sum_up(e[k], logf(null / other) + s * (1 / null - 1 / other), MW_EVIDENCE_MOST);
    }
}

static int is_suspected(const mw_suspect *s, const float e[2 * MW_SIGNALS], float nats) {
    return mw_float_get(&s->distinct) < MW_YOUNG_ROWS || most(e) > nats;
}

/* What becomes of this row's answer. suspected: young, or with some evidence. */
static void withhold(const mw_watch_region *region, const neighbourhood *around, int suspected, uint32_t level,
                     int32_t label, uint32_t now, mw_watch_seen *out) {
    out->withheld = (uint8_t)(around->hot && suspected);
    if (mw_field_get(region->locked) > now)
        out->withheld |= suspected || (around->surprise >= 2 && level >= 1) || around->flip;
    out->first_label = around->first_label;
    if (!suspected || mw_field_get(region->surging) <= now) return;
    out->withheld |= level >= 1 || around->flip;
    if (out->first_label < 0) out->first_label = label;
}

/* What its evidence is worth now, and the block that begins with it. */
static void take_step(mw_suspect *s, const float e[2 * MW_SIGNALS], uint32_t now, uint32_t block_for,
                      mw_watch_seen *out) {
    const int young = mw_float_get(&s->distinct) < MW_YOUNG_ROWS;
    const uint8_t strikes = mw_field_get(s->strikes);
    int strongest = 0;
    for (int i = 1; i < 2 * MW_SIGNALS; i++)
        if (e[i] > e[strongest]) strongest = i;
    out->signal = (mw_signal)(strongest / 2);
    out->step = mw_step_of(e[strongest], young, out->before);
    if (out->step == MW_STEP_BLOCK) {
        mw_field_set(s->until, now + (block_for << (strikes < MOST_STRIKES ? strikes : MOST_STRIKES)));
        if (strikes < 255) mw_field_set(s->strikes, (uint8_t)(strikes + 1));
    }
    if (out->step != out->before) {
        mw_field_set(s->step, (uint8_t)out->step);
        mw_field_set(s->since, now);
    } else if (strikes && out->step <= MW_STEP_TAG && now - mw_field_get(s->since) >= MW_WATCH_DAY) {
        mw_field_set(s->strikes, (uint8_t)(strikes - 1)); /* forgotten, one a day */
        mw_field_set(s->since, now);
    }
}

/* ---- counts for tomorrow's tables ---- */

static void add_one(uint32_t *count) { mw_field_set(*count, mw_field_get(*count) + 1); }

static void add_one_of_place(uint16_t count[MW_WATCH_P_BINS], uint8_t bin) {
    if (mw_field_get(count[bin]) == UINT16_MAX)
        for (int b = 0; b < MW_WATCH_P_BINS; b++) mw_field_set(count[b], mw_field_get(count[b]) / 2);
    mw_field_set(count[bin], (uint16_t)(mw_field_get(count[bin]) + 1));
}

static void teach(mw_watch *w, const mw_watched *row, const neighbourhood *around, uint32_t walk, float margin) {
    mw_watch_counts *c = &w->shared->counts;
    add_one(&c->rows);
    add_one(&c->p[row->at][row->bin]);
    if (row->place < MW_WATCH_PLACES) add_one_of_place(c->p_of_place[row->place], row->bin);
    add_one(&c->margin[mw_margin_bin(margin)]);
    if (!row->hashed) return;
    add_one(&c->walk[row->at][walk]);
    for (int r = 0; r < MW_WATCH_RESOLUTIONS; r++) {
        add_one(&c->near[r][row->at][around->near[r]]);
        add_one(&c->flips[r][w->group[row->at]][around->flips[r]]);
    }
}

void mw_watch_answer(mw_watch *w, mw_suspect *s, uint64_t key, const mw_watched *row, const mw_watch_answer_of *answer,
                     uint32_t day, uint32_t now, uint32_t block_for, mw_watch_seen *out) {
    mw_watch_shared *m = w->shared;
    const uint32_t phase = mw_field_get(m->phase), last = mw_field_get(s->last), until = mw_field_get(s->until);
    const mw_watch_tables *t = &m->tables[mw_field_get(m->table) & 1];
    const mw_watch_cell_table *cell = &t->cell[row->at];
    const uint64_t noise = mw_watch_mix(row->row + now);
    const float dither = (float)(noise >> 40) / (float)(1 << 24),
                dither_own = (float)(noise & 0xffffff) / (float)(1 << 24);
    float e[2 * MW_SIGNALS];
    neighbourhood around = {.first_label = MW_LABEL_NONE};

    memset(out, 0, sizeof *out);
    out->first_label = MW_LABEL_NONE;
    out->before = out->step = (mw_step)mw_field_get(s->step);
    const int blocked = until > now;
    if (blocked && answer->acted) return; /* it was asked before the block began */
    load(s, e);
    if (until && !blocked) {
        mw_field_set(s->until, 0);
        for (int i = 0; i < 2 * MW_SIGNALS; i++) e[i] = at_most(e[i], TAG);
    }
    const float pause = now > last ? (float)(now - last) / 10.0f : 0.0f;
    for (int i = 0; i < 2 * MW_SIGNALS; i++) e[i] -= pause / MW_FORGET_SECONDS;
    mw_field_set(s->last, now > last ? now : last);

    if (mw_field_get(s->day) != (uint16_t)day) {
        mw_field_set(s->day, (uint16_t)day);
        for (int i = 0; i < MW_SUSPECT_REGISTERS; i++) mw_field_set(s->registers[i], 0);
        mw_float_set(&s->spent, 0.0f);
    }
    const float rows = mw_distinct_count(s, row->row, key);
    if (rows > 0.0f) {
        mw_float_set(&s->distinct, mw_float_get(&s->distinct) + rows);
        mw_float_set(&s->spent, mw_float_get(&s->spent) + rows * answer->weight);
    }
    out->repeated = (uint8_t)is_repeat(m, row->row);
    const uint32_t label = answer->label < 0 ? LABEL_UNKNOWN : (uint32_t)answer->label % LABEL_UNKNOWN,
                   level = level_of(m, answer->margin), who = (uint32_t)(key >> 40) & 4095;
    if (row->hashed && (!out->repeated || phase == MW_WATCH_ARMED)) /* a repeat teaches nothing */
        look_around(w, t, row, who, label, now / 40 & 65535, out->repeated, &around);
    if (out->repeated) {
        keep(s, e, dither);
        if (!blocked) take_step(s, e, now, block_for, out);
        around.hot &= most(e) > TAG / 2; /* callers that send few distinct rows stay young, and repeat them for ever */
        if (phase == MW_WATCH_ARMED && row->hashed) /* asked twice, it must tell no more than once */
            withhold(&m->region[row->at], &around, is_suspected(s, e, TAG / 2), level, answer->label, now, out);
        return;
    }

    const uint32_t sixteenths = t->s[row->place][row->bin], own_kept = mw_field_get(s->own);
    const float s_usual = (float)sixteenths / 16.0f, own = (float)own_kept / MW_OWN;
    const int quiet = most(e) < TAG, known = quiet && mw_float_get(&s->distinct) >= MW_YOUNG_ROWS;
    if (known) mw_fault_asked(&m->faults, who, now);
    const int tolerated =
        known && phase >= MW_WATCH_FILLING && mw_fault_row(m, who, row->at, sixteenths, own_kept, now);
    const float s_now = tolerated ? at_most(s_usual, 1.0f) : s_usual;
    const uint32_t walk = row->hashed ? around.surprise * 10 + level * 2 + around.flip : 0;
    if (phase >= MW_WATCH_FILLING) {
        const int teaches = mw_float_get(&s->distinct) >= MW_YOUNG_ROWS && most(e) < ROUND;
        unlike(&e[2 * MW_SIGNAL_UNLIKE], own, s_now);
        if (known && (e[2 * MW_SIGNAL_UNLIKE] >= TAG || e[2 * MW_SIGNAL_UNLIKE + 1] >= TAG))
            mw_fault_raise(m, s, key, who, now);
        const float in_time = at_most(pause / OWN_SECONDS, OWN_MOST_SHARE), in_rows = teaches ? 1 / OWN_ROWS : 0.0f;
        const float share = in_time > in_rows ? in_time : in_rows;
        const float now_own = own + (at_most(s_now, OWN_MOST) - own) * share;
        if (!tolerated) mw_field_set(s->own, (uint16_t)(now_own * MW_OWN + dither_own));
    }
    if (phase == MW_WATCH_ARMED && row->hashed) {
        float mean[2] = {0.0f, 0.0f};
        for (int r = 0; r < MW_WATCH_RESOLUTIONS; r++)
            for (int k = 0; k < 2; k++) mean[k] += e_value(cell->near[r][near_of(&around, r, known)][k]);
        for (int k = 0; k < 2; k++) {
            float *near = &e[2 * MW_SIGNAL_NEAR + k], *walks = &e[2 * MW_SIGNAL_WALK + k];
            *near = sum_up(*near, logf(mean[k] / MW_WATCH_RESOLUTIONS), answer->near_most);
            *walks = sum_up(*walks, cell->walk[walk][k] / 16.0f, MW_EVIDENCE_MOST);
        }
    }
    keep(s, e, dither);
    if (!blocked) take_step(s, e, now, block_for, out);

    if (phase == MW_WATCH_ARMED && row->hashed) {
        mw_watch_region *region = &m->region[row->at];
        const int suspected = is_suspected(s, e, TAG / 2);
        if (quiet) judge_region(region, cell, walk, around.near, (float)mw_field_get(s->own) / MW_OWN, s_now, now);
        if (suspected) judge_surge(m, region, t->surge[row->at], who, now);
        withhold(region, &around, suspected, level, answer->label, now, out);
    }
    if (tolerated) return; /* what is tolerated for a time is not usual */
    if (phase != MW_WATCH_ARMED ? most(e) < TAG : most(e) < TAG && mw_float_get(&s->distinct) >= 50.0f)
        teach(w, row, &around, walk, answer->margin);
}
