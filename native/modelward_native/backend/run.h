/* One run of a session. No Python, no GIL: it happens on the loop or in a worker thread (worker_thread.h). */
#ifndef MODELWARD_RUN_H
#define MODELWARD_RUN_H

#include "note.h"
#include "session.h"

/* A tensor on its way into a run. BYTES elements are given one by one in `element`; others as `data`. */
typedef struct {
    void *data; /* owned: gathered rows; aligned to 64 bytes */
    size_t capacity, size;
    mw_span *element; /* owned; spans borrowed from the exchanges in the batch */
    size_t element_capacity, elements;
    int64_t shape[MW_MAX_RANK];
} mw_run_input;

/* A tensor that a run has made. */
typedef struct {
    OrtValue *value;     /* owned until mw_run_release */
    const uint8_t *data; /* within value; NULL for BYTES */
    size_t size;
    uint8_t *text;  /* owned: contents of all strings of a BYTES output, without prefixes */
    size_t *offset; /* owned: elements + 1 offsets into text */
    size_t elements;
    uint32_t rank;
    int64_t shape[MW_MAX_RANK];
} mw_run_output;

/* One run. Filled by the loop, run by the loop or a worker thread, read by the loop: never by two at once. */
struct mw_run {
    mw_session *session;              /* borrowed */
    mw_note *note;                    /* borrowed; NULL: it is not noted */
    OrtRunOptions *options;           /* owned; terminate may be set from the loop while a worker thread runs it */
    mw_run_input *in;                 /* owned, session->inputs of them, capacity kept between runs */
    mw_run_output *out;               /* owned, session->outputs of them */
    OrtValue **in_value, **out_value; /* owned arrays */
    int64_t budget;                   /* bytes that the run may hold at once beside its inputs; 0: any number */
    int64_t peak;                     /* that it held */
    int over_budget;                  /* it failed, since it wanted more */
    int64_t took_ns;                  /* measured around the run, where it ran */
    int failed;
    char error[MW_ERROR_TEXT]; /* ONNX Runtime's words: for the log; callers are told a part (cause.h) */
};

/* Returns 0, or -1 for want of memory. */
int mw_run_init(mw_run *run, mw_session *s);
void mw_run_destroy(mw_run *run);
/* Room for size bytes (or elements of a BYTES input) in input i; capacity beyond 1 MiB is given back by mw_run_release. */
int mw_run_reserve(mw_run *run, uint32_t i, size_t size, size_t elements);
/* The run itself, in the extension that opened the session; sets failed, error, took_ns and the outputs. */
static inline void mw_run_execute(mw_run *run) { run->session->execute(run); }
/* The same in this extension: for mw_session_open. */
void mw_run_here(mw_run *run);
/* Lets go of the outputs. */
void mw_run_release(mw_run *run);
void mw_run_terminate(mw_run *run, int on);

#endif
