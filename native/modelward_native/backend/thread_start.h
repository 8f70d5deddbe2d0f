/* A thread that gets no signals but those that it causes itself: all others belong to the main thread. */
#ifndef MODELWARD_THREAD_START_H
#define MODELWARD_THREAD_START_H

#include <pthread.h>
#include <signal.h>
#include <stddef.h>

static const int MW_DEADLY_SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
enum { MW_DEADLY_COUNT = sizeof MW_DEADLY_SIGNALS / sizeof *MW_DEADLY_SIGNALS };

/* Returns 0, or what pthread_create returns. */
static inline int mw_thread_start(pthread_t *thread, void *(*body)(void *), void *argument) {
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < MW_DEADLY_COUNT; i++) sigdelset(&blocked, MW_DEADLY_SIGNALS[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int bad = pthread_create(thread, NULL, body, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return bad;
}

#endif
