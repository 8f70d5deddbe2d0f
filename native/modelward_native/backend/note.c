#define _GNU_SOURCE
#include "note.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include "thread_start.h"

/* Of the run of this thread. Initial-exec: a load, not a call. */
static _Thread_local mw_note *CURRENT __attribute__((tls_model("initial-exec")));

/* Of the session whose pool this thread belongs to; 0: of none. */
static _Thread_local uint32_t POOL __attribute__((tls_model("initial-exec")));

static mw_death *DEATH; /* borrowed for good; NULL: nothing is noted */

static void on_death(int number, siginfo_t *info, void *context) {
    int own = info->si_code > 0 || info->si_pid == getpid();
    (void)context;
    if (CURRENT && own) CURRENT->signal = number;
    if (POOL && own && !DEATH->pool) {
        DEATH->signal = number;
        DEATH->pool = POOL;
    }
    /* Only now: threads of a pool may get theirs at once, and the first that finds no handler ends the process. The
     * instruction that faults does so again, and what was sent is sent again. */
    signal(number, SIG_DFL);
    if (info->si_code <= 0) raise(number);
}

void mw_note_deaths(mw_death *death) {
    struct sigaction action = {0};
    DEATH = death;
    action.sa_sigaction = on_death;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (size_t i = 0; i < MW_DEADLY_COUNT; i++) sigaction(MW_DEADLY_SIGNALS[i], &action, NULL);
}

void mw_note_work(mw_note *note) {
    if (CURRENT) CURRENT->dims = 0;
    if (note) note->dims = 1;
    CURRENT = note;
}

void mw_note_session(uint32_t session) {
    if (CURRENT) CURRENT->pool = session;
}

void mw_note_pool_thread(uint32_t session) { POOL = session; }

void mw_note_begin(mw_note *note, uint32_t session, uint32_t dims) {
    note->pool = session;
    atomic_signal_fence(memory_order_release); /* the supervisor reads it when this process is dead */
    note->dims = dims + 1;
    CURRENT = note;
}

void mw_note_end(mw_note *note) {
    CURRENT = NULL;
    note->dims = 0;
}
