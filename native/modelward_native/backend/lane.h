/* A lane: one thread that runs one job at a time without the GIL, so that a slow model delays nobody else's requests.
 * The loop hands a job over, goes on, and is told through an eventfd when the job has ended. Between them stand a
 * semaphore and atomics, and no lock: a lane that has lost its core can never keep the loop waiting for one. */
#ifndef MODELWARD_LANE_H
#define MODELWARD_LANE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

typedef struct mw_lane {
    pthread_t thread;
    sem_t wake;              /* posted once per job, and once to end */
    void (*work)(void *);
    void *argument;          /* borrowed: the loop must not touch it until done */
    atomic_int given;        /* set by the loop, cleared by the lane: a wake without it is the end */
    atomic_int done;         /* set by the lane, cleared by the loop */
    atomic_int id;           /* of the thread, as the kernel numbers it; 0 until it has begun */
    int idle;                /* runs only on cores that nobody else wants */
    int eventfd;             /* borrowed: one per process */
} mw_lane;

/* idle: its thread gets only the time of cores that no other thread wants (SCHED_IDLE). NULL if no thread can be had. */
mw_lane *mw_lane_new(int eventfd, int idle);
/* Only while it has no job. */
void mw_lane_start(mw_lane *lane, void (*work)(void *), void *argument);
/* 1 once for each job that has ended. */
int mw_lane_take_done(mw_lane *lane);
/* Of its thread, 0 until that has begun. */
int mw_lane_thread(mw_lane *lane);
/* Waits for the running job, ends the thread, frees the lane. */
void mw_lane_free(mw_lane *lane);

#endif
