#define _GNU_SOURCE
#include "worker_thread.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "thread_start.h"

static void *run(void *argument) {
    mw_worker_thread *t = argument;
    struct sched_param none = {0};
    atomic_store(&t->id, gettid());
    if (t->idle)
        pthread_setschedparam(pthread_self(), SCHED_IDLE, &none); /* where that is refused, it runs as others do */
    for (;;) {
        while (sem_wait(&t->wake) != 0 && errno == EINTR) {}
        if (!atomic_exchange(&t->given, 0)) return NULL;
        t->work(t->argument);
        atomic_store_explicit(&t->done, 1, memory_order_release);
        uint64_t one = 1;
        /* fails only when the counter is full, and then the loop is about to be woken anyway */
        ssize_t written = write(t->eventfd, &one, sizeof one);
        (void)written;
    }
}

mw_worker_thread *mw_worker_thread_new(int eventfd, int idle) {
    mw_worker_thread *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->eventfd = eventfd;
    t->idle = idle;
    sem_init(&t->wake, 0, 0);
    if (mw_thread_start(&t->thread, run, t) == 0) return t;
    sem_destroy(&t->wake);
    free(t);
    return NULL;
}

void mw_worker_thread_start(mw_worker_thread *t, void (*work)(void *), void *argument) {
    t->work = work;
    t->argument = argument;
    atomic_store(&t->given, 1);
    sem_post(&t->wake);
}

int mw_worker_thread_take_done(mw_worker_thread *t) {
    return atomic_exchange_explicit(&t->done, 0, memory_order_acq_rel);
}

int mw_worker_thread_id(mw_worker_thread *t) { return atomic_load(&t->id); }

void mw_worker_thread_free(mw_worker_thread *t) {
    if (!t) return;
    sem_post(&t->wake);
    pthread_join(t->thread, NULL);
    sem_destroy(&t->wake);
    free(t);
}
