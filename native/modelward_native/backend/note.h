/* What a process runs at this moment, in memory that outlives it: its supervisor reads there what it died of. */
#ifndef MODELWARD_NOTE_H
#define MODELWARD_NOTE_H

#include <stdint.h>

enum {
    MW_NOTE_NAME = 129, /* with the final 0, as the others */
    MW_NOTE_VERSION = 65,
    MW_NOTE_DIGEST = 65,  /* SHA-256 in hexadecimal */
    MW_NOTE_DIMS = 256,   /* dimensions; of a model that has more, the first */
    MW_NOTE_CALLERS = 16, /* of one run; where there are more, the first */
};

/* What ended the process where no run's own thread got the signal: one that works for all runs of a session. */
typedef struct {
    uint32_t pool; /* number of the session in this process; 0: no such thread got one */
    int32_t signal;
} mw_death;

/* One for each run that may be in flight. Written by the thread that runs, but for the first five. */
typedef struct {
    uint32_t used;    /* 1: an engine's */
    uint32_t loading; /* 1: of a load or a canary; its digest is that of both */
    char name[MW_NOTE_NAME], version[MW_NOTE_VERSION], digest[MW_NOTE_DIGEST];
    uint32_t dims;     /* of the run in flight, plus one; 0: nothing is run */
    int32_t signal;    /* that its thread got and cannot survive; 0: none */
    uint32_t pool;     /* number of the session that runs it, or that is opened; 0: none */
    uint32_t any_rows; /* requests may share the run: the first dimension of an input says nothing but 0 or more */
    uint32_t
        callers; /* of its requests, each run of equal ones once; above MW_NOTE_CALLERS: there were more. 0: no request's */
    uint64_t caller[MW_NOTE_CALLERS]; /* their budgets, as limits know them */
    int64_t dim[MW_NOTE_DIMS];        /* of all inputs, one input after the other; -1: any number of rows but 0 */
} mw_note;

/* From now on a deadly signal marks the note of the thread that gets it, or `death` where it is a session's pool thread.
 * Signals that other processes send do not. death: kept for good. */
void mw_note_deaths(mw_death *death);

/* What this thread does is the note's from now on, whatever it runs that has no note of its own; NULL ends it. */
void mw_note_work(mw_note *note);

/* Around one run of this thread. session: its number; dims: of note->dim that are filled. */
void mw_note_begin(mw_note *note, uint32_t session, uint32_t dims);
void mw_note_end(mw_note *note);

/* This thread opens the session of that number, or is one of its pool. */
void mw_note_session(uint32_t session);
void mw_note_pool_thread(uint32_t session);

#endif
