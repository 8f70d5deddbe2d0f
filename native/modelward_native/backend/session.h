/* ONNX Runtime, loaded once per process, and its sessions. No Python, no GIL. */
#ifndef MODELWARD_SESSION_H
#define MODELWARD_SESSION_H

#include <stdio.h>

#include "ort.h"
#include "tensor.h"

enum { MW_ERROR_TEXT = 512 };

/* One input or output as the model declares it. Owned by the session. */
typedef struct {
    char *name;
    mw_dtype dtype;   /* MW_INVALID where the protocol has no such tensor */
    int onnx_type;    /* ORT_TYPE_TENSOR, or what it is instead */
    int element_type; /* in ONNX Runtime's words (ort.h) */
    uint32_t rank;
    int64_t shape[MW_MAX_RANK]; /* -1: dynamic */
} mw_declared;

typedef struct mw_run mw_run;

typedef struct {
    /* mw_run_here of the extension that opened it: each links a copy of these kernels, and the thread-local state of a run
     * (note.c, budget.c) must be one */
    void (*execute)(mw_run *);
    const OrtApi *api;       /* borrowed from the loaded library, never unloaded */
    OrtSession *session;     /* owned */
    OrtMemoryInfo *memory;   /* process-wide, borrowed */
    OrtAllocator *allocator; /* process-wide, borrowed */
    uint32_t number;         /* in this process, from 1: of the threads of its pool */
    uint32_t inputs, outputs;
    mw_declared *input, *output;            /* owned */
    const char **input_name, **output_name; /* owned arrays of the names above */
} mw_session;

/* Loads libonnxruntime from path once per process. Returns NULL or a static explanation. */
const char *mw_ort_load(const char *path);
const char *mw_ort_version(void);

/* Opens a model from bytes (or, when bytes is NULL, from a path). On failure returns NULL and fills error. */
mw_session *mw_session_open(const void *bytes, size_t size, const char *path, int threads, char error[MW_ERROR_TEXT]);
void mw_session_close(mw_session *s);

/* Consumes the status: 0 for success, else -1 with its words in error. */
static inline int mw_ort_failed(const OrtApi *api, OrtStatus *status, char error[MW_ERROR_TEXT]) {
    if (!status) return 0;
    snprintf(error, MW_ERROR_TEXT, "%s", ort_error_message(api, status));
    ort_release_status(api, status);
    return -1;
}

#endif
