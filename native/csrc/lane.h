/* A lane: one thread that runs one job at a time without the GIL, so that a slow model delays nobody else's requests.
 * The loop hands a job over, goes on, and is told through an eventfd when the job has ended. */
#ifndef MODELWARD_LANE_H
#define MODELWARD_LANE_H

#include <pthread.h>
#include <stdatomic.h>

typedef struct mw_lane {
    pthread_t thread;
    pthread_mutex_t mutex;   /* guards work and stop */
    pthread_cond_t wake;
    void (*work)(void *);    /* NULL while idle */
    void *argument;          /* borrowed: the loop must not touch it until done */
    atomic_int done;         /* set by the lane, cleared by the loop */
    int stop;
    int eventfd;             /* borrowed: one per process */
} mw_lane;

/* NULL if no thread can be had. */
mw_lane *mw_lane_new(int eventfd);
/* Only while idle. */
void mw_lane_start(mw_lane *lane, void (*work)(void *), void *argument);
/* 1 once for each job that has ended. */
int mw_lane_take_done(mw_lane *lane);
/* Waits for the running job, ends the thread, frees the lane. */
void mw_lane_free(mw_lane *lane);

#endif
