/* Who is how suspicious: one record an identity and model, in a table of fixed size that processes share.
 *
 * Evidence is counted in nats, in CUSUMs of e-values: at the edge of what is tolerated, evidence of h nats comes once in e^h
 * rows or later. Each signal has two, which bet on strong and on mild attacks. It falls with honest rows and with time, and the
 * step follows from the largest.
 *
 * The table is open to strangers, so the hash is keyed and the memory fixed: lines of eight records. A key that finds its line
 * full takes the place of the least suspicious of the four oldest, so that no attacker flushes its own record with new names. A
 * record that an operator holds stays.
 *
 * Any number of processes read and write. There is no lock: a record is claimed by exchanging its key, and its fields are read
 * and stored one by one. Of two writers of one field at the same instant one loses a row's evidence. */
#ifndef MODELWARD_SUSPICION_H
#define MODELWARD_SUSPICION_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    MW_STEP_OBSERVE = 0, /* nothing */
    MW_STEP_TAG,         /* an event; the answer as it is */
    MW_STEP_ROUND,       /* scores of one digit */
    MW_STEP_TOP_CLASS,   /* the top class alone */
    MW_STEP_DELAY,       /* that, and late */
    MW_STEP_FALLBACK,
    MW_STEP_BLOCK,
    MW_STEPS
} mw_step;

typedef enum {
    MW_SIGNAL_UNLIKE = 0, /* rows unlike the training data */
    MW_SIGNAL_NEAR,       /* rows near earlier ones */
    MW_SIGNAL_WALK,       /* both that and answers near a boundary, or on both sides of it */
    MW_SIGNALS
} mw_signal;

enum {
    MW_SUSPECT_WAYS = 8,
    MW_SUSPECT_REGISTERS = 16, /* bytes: two registers of four bits each */
    MW_NAT = 2048,             /* in mw_suspect.evidence */
    MW_OWN = 4096,             /* in mw_suspect.own */
};

#define MW_EVIDENCE_MOST 28.0f
#define MW_YOUNG_ROWS 300.0f  /* identities with fewer distinct rows ... */
#define MW_YOUNG_LESS 3.5f    /* ... are restricted with so many nats less: few requests are ever made by young ones */
#define MW_HYSTERESIS 2.0f    /* nats below its threshold at which a step is left */
#define MW_FORGET_SECONDS 300 /* in which one nat is forgotten */

/* One cache line. Times are tenths of a second of the monotonic clock: mw_suspect_time. */
typedef struct {
    _Alignas(64) uint64_t key;         /* mw_suspect_key; 0: free */
    uint32_t last;                     /* its last row */
    uint32_t until;                    /* blocked until then; 0: not */
    uint32_t since;                    /* its step is the same since then */
    uint16_t evidence[2 * MW_SIGNALS]; /* mw_signal x (strong, mild) */
    uint16_t own;                      /* mean of s over its last half hour: detect/unlike.h */
    uint8_t step;                      /* mw_step that its evidence was worth at `last` */
    uint8_t pinned;                    /* mw_step that an operator holds it at; MW_STEP_OBSERVE: none does */
    uint8_t strikes;                   /* blocks that are not forgotten */
    uint8_t spends;
    uint16_t day;                            /* of `registers`, `spent` and `spends`, the mw_step of its budget */
    uint8_t registers[MW_SUSPECT_REGISTERS]; /* HyperLogLog of today's rows: detect/distinct.h */
    float distinct;                          /* rows ever */
    float spent;                             /* rows today, each weighted by how precise its answer was */
} mw_suspect;

typedef struct {
    _Alignas(64) uint64_t evicted; /* records that were given to another key */
} mw_suspicion_shared;

typedef struct {
    mw_suspicion_shared *shared; /* the caller's, zeroed before the first use */
    mw_suspect *record;          /* the caller's, 64-byte aligned, likewise */
    uint64_t lines;              /* of MW_SUSPECT_WAYS records; a power of two */
} mw_suspicion;

static inline uint32_t mw_suspect_time(int64_t now_ns) { return (uint32_t)(now_ns / 100000000); }

/* Bytes of a table for so many identities, rounded up to a power of two; 0 for none and for more than 2^22. */
size_t mw_suspicion_size(uint64_t identities);

/* memory: mw_suspicion_size() bytes. */
void mw_suspicion_init(mw_suspicion *t, void *memory, size_t size);

/* Never 0. identity: the hash under which a caller's budget is held, which is its peer's where it has no name, so that names
 * that cost nothing share a record. model: a hash of the model's name, under the same secret. */
static inline uint64_t mw_suspect_key(uint64_t identity, uint64_t model) {
    uint64_t h = identity ^ (model * UINT64_C(0x9e3779b97f4a7c15));
    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    return h ? h : 1;
}

/* The key's record; NULL where it has none. */
mw_suspect *mw_suspect_find(const mw_suspicion *t, uint64_t key);

/* The key's record, a new one if need be; NULL where operators hold all records of its line. */
mw_suspect *mw_suspect_get(mw_suspicion *t, uint64_t key, int64_t now_ns);

/* The same of a record that was found a moment ago: it may be another key's by now. found: NULL where it had none. */
mw_suspect *mw_suspect_again(mw_suspicion *t, mw_suspect *found, uint64_t key, int64_t now_ns);

/* What its caller gets now: an operator's choice before all, then a block that has not ended, then what its evidence is worth
 * after the time that has gone by. Changes nothing. */
mw_step mw_suspect_step(const mw_suspect *s, int64_t now_ns);

/* Nanoseconds until its block ends; 0 where it has none. */
int64_t mw_suspect_blocked_ns(const mw_suspect *s, int64_t now_ns);

/* The strongest evidence now, in nats, and which signal it is of. */
float mw_suspect_evidence(const mw_suspect *s, int64_t now_ns, mw_signal *signal);

/* The step that so much evidence is worth to one that had `before`. */
mw_step mw_step_of(float evidence, int young, mw_step before);

/* All is forgotten but who it is and which rows it sent: today's budget is whole again, and no operator holds it any more. */
void mw_suspect_pardon(mw_suspect *s, int64_t now_ns);

/* Held at this step from now on; MW_STEP_OBSERVE: let go. */
void mw_suspect_pin(mw_suspect *s, mw_step step, int64_t now_ns);

static inline void mw_suspect_prefetch(const mw_suspicion *t, uint64_t key) {
    __builtin_prefetch(&t->record[(key & (t->lines - 1)) * MW_SUSPECT_WAYS], 1);
}

/* ---- for the kernels of this folder: fields as they are, read and stored one by one ---- */

#define mw_field_get(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define mw_field_set(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

static inline float mw_float_get(const float *field) {
    float value;
    __atomic_load(field, &value, __ATOMIC_RELAXED);
    return value;
}

static inline void mw_float_set(float *field, float value) { __atomic_store(field, &value, __ATOMIC_RELAXED); }

#endif
