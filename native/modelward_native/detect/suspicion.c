#include "suspicion.h"

#include <string.h>

enum { OLDEST = MW_SUSPECT_WAYS / 2 }; /* of a line: the least suspicious of these gives way */

/* Where each step begins, in nats. Young identities are restricted MW_YOUNG_LESS earlier, tagged alike. */
static const float THRESHOLD[MW_STEPS] = {0.0f, 9.2f, 18.4f, 19.0f, 20.0f, 21.0f, 24.0f};

/* The largest evidence of an identity whose block has ended. */
static const float AFTER_BLOCK = 9.2f;

size_t mw_suspicion_size(uint64_t identities) {
    uint64_t lines = 1;
    if (identities == 0 || identities > UINT64_C(1) << 22) return 0;
    while (lines * MW_SUSPECT_WAYS < identities) lines *= 2;
    return sizeof(mw_suspicion_shared) + lines * MW_SUSPECT_WAYS * sizeof(mw_suspect);
}

void mw_suspicion_init(mw_suspicion *t, void *memory, size_t size) {
    t->shared = memory;
    t->record = (mw_suspect *)((char *)memory + sizeof(mw_suspicion_shared));
    t->lines = (size - sizeof(mw_suspicion_shared)) / sizeof(mw_suspect) / MW_SUSPECT_WAYS;
}

static mw_suspect *line_of(const mw_suspicion *t, uint64_t key) {
    return &t->record[(key & (t->lines - 1)) * MW_SUSPECT_WAYS];
}

mw_suspect *mw_suspect_find(const mw_suspicion *t, uint64_t key) {
    mw_suspect *line = line_of(t, key);
    for (int way = 0; way < MW_SUSPECT_WAYS; way++)
        if (__atomic_load_n(&line[way].key, __ATOMIC_ACQUIRE) == key) return &line[way];
    return NULL;
}

/* ---- a place for a new key ---- */

/* How much would be lost with it: its evidence now, more where it is or was blocked. */
static float worth(const mw_suspect *s, int64_t now_ns) {
    mw_signal signal;
    const float strikes = (float)mw_field_get(s->strikes);
    return mw_suspect_evidence(s, now_ns, &signal) + MW_EVIDENCE_MOST * strikes;
}

/* NULL where operators hold all. */
static mw_suspect *victim(mw_suspect *line, int64_t now_ns) {
    const uint32_t now = mw_suspect_time(now_ns);
    mw_suspect *least = NULL;
    float of_least = 0.0f;
    for (int way = 0; way < MW_SUSPECT_WAYS; way++) {
        int older = 0;
        if (mw_field_get(line[way].key) == 0) return &line[way];
        if (mw_field_get(line[way].pinned) != MW_STEP_OBSERVE) continue;
        for (int other = 0; other < MW_SUSPECT_WAYS; other++) {
            const uint32_t age = now - mw_field_get(line[way].last), of_other = now - mw_field_get(line[other].last);
            const int held = mw_field_get(line[other].pinned) != MW_STEP_OBSERVE;
            older += !held && (of_other > age || (of_other == age && other < way));
        }
        if (older >= OLDEST) continue;
        const float value = worth(&line[way], now_ns);
        if (least == NULL || value < of_least) {
            least = &line[way];
            of_least = value;
        }
    }
    return least;
}

/* What another process wrote to the record's former key at this instant is lost, or is this key's: one row's evidence. */
static void clear(mw_suspect *s, int64_t now_ns) {
    mw_field_set(s->last, mw_suspect_time(now_ns));
    mw_field_set(s->until, 0);
    mw_field_set(s->since, mw_suspect_time(now_ns));
    for (int i = 0; i < 2 * MW_SIGNALS; i++) mw_field_set(s->evidence[i], 0);
    mw_field_set(s->own, MW_OWN);
    mw_field_set(s->step, MW_STEP_OBSERVE);
    mw_field_set(s->strikes, 0);
    mw_field_set(s->day, 0);
    for (int i = 0; i < MW_SUSPECT_REGISTERS; i++) mw_field_set(s->registers[i], 0);
    mw_field_set(s->spends, MW_STEP_OBSERVE);
    mw_float_set(&s->distinct, 0.0f);
    mw_float_set(&s->spent, 0.0f);
}

mw_suspect *mw_suspect_again(mw_suspicion *t, mw_suspect *found, uint64_t key, int64_t now_ns) {
    if (found != NULL && __atomic_load_n(&found->key, __ATOMIC_ACQUIRE) == key) return found;
    return mw_suspect_get(t, key, now_ns);
}

mw_suspect *mw_suspect_get(mw_suspicion *t, uint64_t key, int64_t now_ns) {
    mw_suspect *found = mw_suspect_find(t, key), *line = line_of(t, key);
    for (int tries = 0; found == NULL && tries < MW_SUSPECT_WAYS; tries++) {
        mw_suspect *place = victim(line, now_ns);
        if (place == NULL) return NULL;
        uint64_t before = mw_field_get(place->key);
        if (__atomic_compare_exchange_n(&place->key, &before, key, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            clear(place, now_ns);
            if (before) __atomic_fetch_add(&t->shared->evicted, 1, __ATOMIC_RELAXED);
            return place;
        }
        found = mw_suspect_find(t, key); /* another process was quicker: with this key, or another one */
    }
    return found;
}

/* ---- steps ---- */

mw_step mw_step_of(float evidence, int young, mw_step before) {
    mw_step up = MW_STEP_OBSERVE, kept = MW_STEP_OBSERVE;
    if (before == MW_STEP_OBSERVE && evidence < THRESHOLD[MW_STEP_TAG])
        return MW_STEP_OBSERVE; /* nearly all identities */
    for (int step = MW_STEP_TAG; step < MW_STEPS; step++) {
        const float at = THRESHOLD[step] - (young && step > MW_STEP_TAG ? MW_YOUNG_LESS : 0.0f);
        if (evidence >= at) up = (mw_step)step;
        if (step <= (int)before && evidence >= at - MW_HYSTERESIS) kept = (mw_step)step;
    }
    return up > kept ? up : kept;
}

float mw_suspect_evidence(const mw_suspect *s, int64_t now_ns, mw_signal *signal) {
    const uint32_t now = mw_suspect_time(now_ns), last = mw_field_get(s->last), until = mw_field_get(s->until);
    uint16_t most = 0;
    *signal = MW_SIGNAL_UNLIKE;
    for (int i = 0; i < 2 * MW_SIGNALS; i++) {
        const uint16_t evidence = mw_field_get(s->evidence[i]);
        if (evidence <= most) continue;
        most = evidence;
        *signal = (mw_signal)(i / 2);
    }
    float nats = (float)most / MW_NAT;
    if (until && until <= now && nats > AFTER_BLOCK) nats = AFTER_BLOCK;
    nats -= (float)(now > last ? now - last : 0) / (10.0f * MW_FORGET_SECONDS);
    return nats > 0.0f ? nats : 0.0f;
}

mw_step mw_suspect_step(const mw_suspect *s, int64_t now_ns) {
    const mw_step pinned = (mw_step)mw_field_get(s->pinned), before = (mw_step)mw_field_get(s->step);
    mw_signal signal;
    if (pinned != MW_STEP_OBSERVE) return pinned < MW_STEPS ? pinned : MW_STEP_BLOCK;
    if (mw_suspect_blocked_ns(s, now_ns)) return MW_STEP_BLOCK;
    const int young = mw_float_get(&s->distinct) < MW_YOUNG_ROWS;
    const mw_step step = mw_step_of(mw_suspect_evidence(s, now_ns, &signal), young, before);
    return step == MW_STEP_BLOCK ? MW_STEP_FALLBACK : step; /* a block begins with a row, and has a time */
}

int64_t mw_suspect_blocked_ns(const mw_suspect *s, int64_t now_ns) {
    const int64_t left = (int64_t)mw_field_get(s->until) * 100000000 - now_ns;
    return left > 0 ? left : 0;
}

/* ---- operators ---- */

void mw_suspect_pardon(mw_suspect *s, int64_t now_ns) {
    for (int i = 0; i < 2 * MW_SIGNALS; i++) mw_field_set(s->evidence[i], 0);
    mw_field_set(s->strikes, 0);
    mw_field_set(s->until, 0);
    mw_field_set(s->step, MW_STEP_OBSERVE);
    mw_field_set(s->pinned, MW_STEP_OBSERVE);
    mw_field_set(s->spends, MW_STEP_OBSERVE);
    mw_float_set(&s->spent, 0.0f); /* registers stay: what was sent already costs nothing again */
    mw_field_set(s->since, mw_suspect_time(now_ns));
}

void mw_suspect_pin(mw_suspect *s, mw_step step, int64_t now_ns) {
    mw_field_set(s->pinned, (uint8_t)step);
    mw_field_set(s->since, mw_suspect_time(now_ns));
}
