/* A thread that does one job at a time without the GIL, so that what takes long does not delay the loop. The loop hands a job
 * over, goes on, and is told through an eventfd when the job has ended. Between them stand a semaphore and atomics, and no
 * lock: a worker thread that has lost its core can never keep the loop waiting for one. */
#ifndef MODELWARD_WORKER_THREAD_H
#define MODELWARD_WORKER_THREAD_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

typedef struct mw_worker_thread {
    pthread_t thread;
    sem_t wake;           /* posted once per job, and once to end */
    void (*work)(void *); /* a run of a model, or a slice of a message that is inflated */
    void *argument;       /* borrowed: the loop must not touch it until done */
    atomic_int given;     /* set by the loop, cleared by the thread: a wake without it is the end */
    atomic_int done;      /* set by the thread, cleared by the loop */
    atomic_int id;        /* of the thread, as the kernel numbers it; 0 until it has begun */
    int idle;             /* runs only on cores that no other thread wants */
    int eventfd;          /* borrowed: one per process */
} mw_worker_thread;

/* idle: its thread gets only the time of cores that no other thread wants (SCHED_IDLE). NULL if no thread can be had. */
mw_worker_thread *mw_worker_thread_new(int eventfd, int idle);
/* Only while it has no job. */
void mw_worker_thread_start(mw_worker_thread *t, void (*work)(void *), void *argument);
/* 1 once for each job that has ended. */
int mw_worker_thread_take_done(mw_worker_thread *t);
/* Of its thread, 0 until that has begun. */
int mw_worker_thread_id(mw_worker_thread *t);
/* Waits for the running job, ends the thread, frees it. */
void mw_worker_thread_free(mw_worker_thread *t);

#endif
