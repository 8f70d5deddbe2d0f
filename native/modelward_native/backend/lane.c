#define _GNU_SOURCE
#include "lane.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static void *run(void *argument) {
    mw_lane *lane = argument;
    struct sched_param none = {0};
    atomic_store(&lane->id, gettid());
    if (lane->idle) pthread_setschedparam(pthread_self(), SCHED_IDLE, &none); /* where that is refused, it runs as others do */
    for (;;) {
        while (sem_wait(&lane->wake) != 0 && errno == EINTR) {}
        if (!atomic_exchange(&lane->given, 0)) return NULL;
        lane->work(lane->argument);
        atomic_store_explicit(&lane->done, 1, memory_order_release);
        uint64_t one = 1;
        /* fails only when the counter is full, and then the loop is about to be woken anyway */
        ssize_t written = write(lane->eventfd, &one, sizeof one);
        (void)written;
    }
}

mw_lane *mw_lane_new(int eventfd, int idle) {
    mw_lane *lane = calloc(1, sizeof *lane);
    sigset_t all, before;
    if (!lane) return NULL;
    lane->eventfd = eventfd;
    lane->idle = idle;
    sem_init(&lane->wake, 0, 0);
    sigfillset(&all); /* signals belong to the main thread, but for those that a thread causes itself */
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int bad = pthread_create(&lane->thread, NULL, run, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!bad) return lane;
    sem_destroy(&lane->wake);
    free(lane);
    return NULL;
}

void mw_lane_start(mw_lane *lane, void (*work)(void *), void *argument) {
    lane->work = work;
    lane->argument = argument;
    atomic_store(&lane->given, 1);
    sem_post(&lane->wake);
}

int mw_lane_take_done(mw_lane *lane) { return atomic_exchange_explicit(&lane->done, 0, memory_order_acq_rel); }

int mw_lane_thread(mw_lane *lane) { return atomic_load(&lane->id); }

void mw_lane_free(mw_lane *lane) {
    if (!lane) return;
    sem_post(&lane->wake);
    pthread_join(lane->thread, NULL);
    sem_destroy(&lane->wake);
    free(lane);
}
