#define _GNU_SOURCE
#include "watchdog.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "thread_start.h"

/* state = sequence << 2 | phase. The loop moves IDLE -> RUNNING -> IDLE; the watchdog takes a RUNNING it has watched for
 * too long to FIRING and, once terminate is set, to FIRED, which the loop takes to IDLE. The sequence keeps the watchdog from
 * firing at a later run than the one it looked at. */
enum { IDLE, RUNNING, FIRING, FIRED, PHASES_MASK = 3 };
enum { LINGER_NS = 1000000000 };

struct mw_watchdog {
    pthread_t thread;
    pthread_mutex_t mutex; /* guards asleep's wait and stop */
    pthread_cond_t wake;
    int64_t limit_ns;
    _Atomic uint64_t state;
    _Atomic int64_t started_ns; /* of the RUNNING run */
    _Atomic(mw_run *) run;      /* borrowed, valid while not IDLE */
    atomic_int asleep;
    int stop;
};

static void check(mw_watchdog *w) {
    uint64_t seen = atomic_load(&w->state);
    if ((seen & PHASES_MASK) != RUNNING) return;
    int64_t started = atomic_load(&w->started_ns);
    mw_run *run = atomic_load(&w->run);
    if (mw_now_ns() - started < w->limit_ns) return;
    if (!atomic_compare_exchange_strong(&w->state, &seen, (seen & ~(uint64_t)PHASES_MASK) | FIRING)) return;
    mw_run_terminate(run, 1);
    atomic_store(&w->state, (seen & ~(uint64_t)PHASES_MASK) | FIRED);
}

static void *watch(void *argument) {
    mw_watchdog *w = argument;
    uint64_t last = 0;
    int64_t quiet_since = mw_now_ns();
    for (;;) {
        check(w);
        uint64_t state = atomic_load(&w->state);
        int64_t now = mw_now_ns();
        if (state != last || (state & PHASES_MASK) != IDLE) {
            last = state;
            quiet_since = now;
        }
        if (now - quiet_since < LINGER_NS) {
            int64_t next = now + w->limit_ns / 2;
            struct timespec until = {next / 1000000000, next % 1000000000};
            pthread_mutex_lock(&w->mutex);
            if (!w->stop) pthread_cond_timedwait(&w->wake, &w->mutex, &until);
            int stop = w->stop;
            pthread_mutex_unlock(&w->mutex);
            if (stop) return NULL;
            continue;
        }
        pthread_mutex_lock(&w->mutex);
        atomic_store(&w->asleep, 1);
        /* a run that began before it saw asleep has changed the state already */
        while (!w->stop && atomic_load(&w->state) == last) pthread_cond_wait(&w->wake, &w->mutex);
        atomic_store(&w->asleep, 0);
        int stop = w->stop;
        pthread_mutex_unlock(&w->mutex);
        if (stop) return NULL;
    }
}

mw_watchdog *mw_watchdog_new(int64_t limit_ns) {
    mw_watchdog *w = calloc(1, sizeof *w);
    pthread_condattr_t monotonic;
    if (!w) return NULL;
    w->limit_ns = limit_ns;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_condattr_init(&monotonic); /* as mw_now_ns */
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (mw_thread_start(&w->thread, watch, w) == 0) return w;
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w);
    return NULL;
}

void mw_watchdog_free(mw_watchdog *w) {
    if (!w) return;
    pthread_mutex_lock(&w->mutex);
    w->stop = 1;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

void mw_watchdog_enter(mw_watchdog *w, mw_run *run, int64_t now_ns) {
    atomic_store_explicit(&w->run, run, memory_order_relaxed);
    atomic_store_explicit(&w->started_ns, now_ns, memory_order_relaxed);
    uint64_t sequence = atomic_load_explicit(&w->state, memory_order_relaxed) >> 2;
    atomic_store(&w->state, (sequence + 1) << 2 | RUNNING);
    if (atomic_load(&w->asleep)) {
        pthread_mutex_lock(&w->mutex);
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->mutex);
    }
}

int mw_watchdog_leave(mw_watchdog *w) {
    uint64_t state = atomic_load(&w->state);
    if ((state & PHASES_MASK) == RUNNING &&
        atomic_compare_exchange_strong(&w->state, &state, state & ~(uint64_t)PHASES_MASK))
        return 0;
    while ((atomic_load(&w->state) & PHASES_MASK) != FIRED) sched_yield();
    mw_run_terminate(atomic_load(&w->run), 0);
    atomic_store(&w->state, state & ~(uint64_t)PHASES_MASK);
    return 1;
}
