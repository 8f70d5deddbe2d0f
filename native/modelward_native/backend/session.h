/* An ONNX Runtime session and one run of it. No Python, no GIL: a run happens on the loop or in a lane (lane.h). */
#ifndef MODELWARD_SESSION_H
#define MODELWARD_SESSION_H

#include "clock.h"
#include "note.h"
#include "ort.h"
#include "tensor.h"

enum { MW_ERROR_TEXT = 512 };

/* One input or output as the model declares it. Owned by the session. */
typedef struct {
    char *name;
    mw_dtype dtype;      /* MW_INVALID where the protocol has no such tensor */
    int onnx_type;       /* ORT_TYPE_TENSOR, or what it is instead */
    uint32_t rank;
    int64_t shape[MW_MAX_RANK]; /* -1: dynamic */
} mw_declared;

typedef struct mw_run mw_run;

typedef struct {
    /* of the copy of this code that opened it: extensions have one each, and thread-local state must be one */
    void (*execute)(mw_run *);
    const OrtApi *api;           /* borrowed from the loaded library, never unloaded */
    OrtSession *session;         /* owned */
    OrtMemoryInfo *memory;       /* process-wide, borrowed */
    OrtAllocator *allocator;     /* process-wide, borrowed */
    uint32_t number;             /* in this process, from 1: of the threads of its pool */
    uint32_t inputs, outputs;
    mw_declared *input, *output; /* owned */
    const char **input_name, **output_name; /* owned arrays of the names above */
} mw_session;

/* A tensor on its way into a run. BYTES elements are given one by one in `element`; others as `data`. */
typedef struct {
    void *data;                  /* owned by the job: gathered rows; aligned to 64 bytes */
    size_t capacity, size;
    mw_span *element;            /* owned by the job; spans borrowed from the exchanges in the batch */
    size_t element_capacity, elements;
    int64_t shape[MW_MAX_RANK];
} mw_run_input;

/* A tensor that a run has made. */
typedef struct {
    OrtValue *value;             /* owned by the job until mw_run_release */
    const uint8_t *data;         /* within value; NULL for BYTES */
    size_t size;
    uint8_t *text;               /* owned: contents of all strings of a BYTES output, without prefixes */
    size_t *offset;              /* owned: elements + 1 offsets into text */
    size_t elements;
    uint32_t rank;
    int64_t shape[MW_MAX_RANK];
} mw_run_output;

/* One run. Filled by the loop, run by the loop or a lane, read by the loop: never by two at once. */
struct mw_run {
    mw_session *session;         /* borrowed */
    mw_note *note;               /* borrowed; NULL: it is not noted */
    OrtRunOptions *options;      /* owned; terminate may be set from the loop while a lane runs it */
    mw_run_input *in;            /* owned, session->inputs of them, capacity kept between runs */
    mw_run_output *out;          /* owned, session->outputs of them */
    OrtValue **in_value, **out_value; /* owned arrays */
    int64_t budget;              /* bytes that the run may hold at once beside its inputs; 0: any number */
    int64_t peak;                /* that it held */
    int over_budget;             /* it failed, since it wanted more */
    int64_t took_ns;             /* measured around the run, where it ran */
    int failed;
    char error[MW_ERROR_TEXT];   /* ONNX Runtime's words: for the log; callers are told a part (cause.h) */
};

/* Loads libonnxruntime from path once per process. Returns NULL or a static explanation. */
const char *mw_ort_load(const char *path);
const char *mw_ort_version(void);

/* Opens a model from bytes (or, when bytes is NULL, from a path). On failure returns NULL and fills error. */
mw_session *mw_session_open(const void *bytes, size_t size, const char *path, int threads, char error[MW_ERROR_TEXT]);
void mw_session_close(mw_session *s);

/* Returns 0, or -1 for want of memory. */
int mw_run_init(mw_run *run, mw_session *s);
void mw_run_destroy(mw_run *run);
/* Room for size bytes (or elements of a BYTES input) in input i; capacity beyond 1 MiB is given back by mw_run_release. */
int mw_run_reserve(mw_run *run, uint32_t i, size_t size, size_t elements);
/* The run itself; sets failed, error, took_ns and the outputs. */
void mw_run_execute(mw_run *run);
/* Lets go of the outputs. */
void mw_run_release(mw_run *run);
void mw_run_terminate(mw_run *run, int on);

#endif
