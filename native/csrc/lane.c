#include "lane.h"

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static void *run(void *argument) {
    mw_lane *lane = argument;
    pthread_mutex_lock(&lane->mutex);
    for (;;) {
        while (!lane->work && !lane->stop) pthread_cond_wait(&lane->wake, &lane->mutex);
        if (!lane->work) break;
        void (*work)(void *) = lane->work;
        pthread_mutex_unlock(&lane->mutex);
        work(lane->argument);
        pthread_mutex_lock(&lane->mutex);
        lane->work = NULL;
        atomic_store_explicit(&lane->done, 1, memory_order_release);
        uint64_t one = 1;
        /* fails only when the counter is full, and then the loop is about to be woken anyway */
        ssize_t written = write(lane->eventfd, &one, sizeof one);
        (void)written;
    }
    pthread_mutex_unlock(&lane->mutex);
    return NULL;
}

mw_lane *mw_lane_new(int eventfd) {
    mw_lane *lane = calloc(1, sizeof *lane);
    sigset_t all, before;
    if (!lane) return NULL;
    lane->eventfd = eventfd;
    pthread_mutex_init(&lane->mutex, NULL);
    pthread_cond_init(&lane->wake, NULL);
    sigfillset(&all); /* signals belong to the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int bad = pthread_create(&lane->thread, NULL, run, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!bad) return lane;
    pthread_cond_destroy(&lane->wake);
    pthread_mutex_destroy(&lane->mutex);
    free(lane);
    return NULL;
}

void mw_lane_start(mw_lane *lane, void (*work)(void *), void *argument) {
    pthread_mutex_lock(&lane->mutex);
    lane->work = work;
    lane->argument = argument;
    pthread_cond_signal(&lane->wake);
    pthread_mutex_unlock(&lane->mutex);
}

int mw_lane_take_done(mw_lane *lane) { return atomic_exchange_explicit(&lane->done, 0, memory_order_acq_rel); }

void mw_lane_free(mw_lane *lane) {
    if (!lane) return;
    pthread_mutex_lock(&lane->mutex);
    lane->stop = 1;
    pthread_cond_signal(&lane->wake);
    pthread_mutex_unlock(&lane->mutex);
    pthread_join(lane->thread, NULL);
    pthread_cond_destroy(&lane->wake);
    pthread_mutex_destroy(&lane->mutex);
    free(lane);
}
