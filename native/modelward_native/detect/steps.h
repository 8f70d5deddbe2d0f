/* Steps that identities took, up or down: a ring in memory that processes share, written by one process and read by another.
 *
 * Counts are kept elsewhere and are exact. The ring has names and evidence, for the log and the trail: where more steps are taken
 * than its reader fetches, the oldest are overwritten, and the reader knows how many. `number` of an event is 0 while it is
 * written, and else one more than its place in the order. No I/O, no clock. */
#ifndef MODELWARD_STEPS_H
#define MODELWARD_STEPS_H

#include <stdint.h>
#include <string.h>

#include "suspicion.h"

enum {
    MW_STEP_EVENTS = 512,
    MW_STEP_TEXT = 128,
    MW_CAUSE_BUDGET = MW_SIGNALS, /* beside the signals: what it has spent of its budget of rows */
    MW_STEP_CAUSES,
};

typedef struct {
    uint64_t number;
    uint64_t key;               /* of the record */
    int64_t at;                 /* ns, monotonic */
    float evidence[MW_SIGNALS]; /* nats */
    float spent;                /* rows today */
    uint8_t before, after;      /* mw_step */
    uint8_t cause;              /* mw_signal of the strongest evidence, or MW_CAUSE_BUDGET */
    uint8_t kind;               /* of the caller, the writer's */
    uint8_t traced;
    uint8_t name_size;
    uint8_t model_size;
    uint8_t trace[16];       /* id of the request's trace, where `traced` */
    char name[MW_STEP_TEXT]; /* of the caller */
    char model[MW_STEP_TEXT];
} mw_step_event;

typedef struct {
    uint64_t written;
    mw_step_event event[MW_STEP_EVENTS];
} mw_step_ring;

/* The place of the next event, which is the writer's until it calls mw_steps_done. */
static inline mw_step_event *mw_steps_next(mw_step_ring *ring) {
    mw_step_event *e = &ring->event[ring->written % MW_STEP_EVENTS];
    __atomic_store_n(&e->number, 0, __ATOMIC_SEQ_CST);
    return e;
}

static inline void mw_steps_done(mw_step_ring *ring, mw_step_event *e) {
    __atomic_store_n(&e->number, ring->written + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&ring->written, ring->written + 1, __ATOMIC_RELEASE);
}

/* A copy of the event at this place in the order; 0 where it is overwritten or not there yet. Sizes and numbers in it are held
 * to their bounds, whatever a process wrote that died meanwhile. */
static inline int mw_steps_read(const mw_step_ring *ring, uint64_t place, mw_step_event *out) {
    const mw_step_event *e = &ring->event[place % MW_STEP_EVENTS];
    if (__atomic_load_n(&e->number, __ATOMIC_ACQUIRE) != place + 1) return 0;
    memcpy(out, e, sizeof *out);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&e->number, __ATOMIC_RELAXED) != place + 1) return 0;
    if (out->name_size > MW_STEP_TEXT) out->name_size = MW_STEP_TEXT;
    if (out->model_size > MW_STEP_TEXT) out->model_size = MW_STEP_TEXT;
    if (out->before >= MW_STEPS) out->before = 0;
    if (out->after >= MW_STEPS) out->after = 0;
    if (out->cause >= MW_STEP_CAUSES) out->cause = 0;
    return 1;
}

#endif
