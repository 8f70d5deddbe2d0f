#define _GNU_SOURCE
#include "budget.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>

/* Of the C API: version, and functions that came with version 18 or before. */
typedef struct OrtAllocatorTable {
    uint32_t version;
    void *(*alloc)(struct OrtAllocatorTable *, size_t);
    void (*free)(struct OrtAllocatorTable *, void *);
    const OrtMemoryInfo *(*info)(const struct OrtAllocatorTable *);
    void *(*reserve)(struct OrtAllocatorTable *, size_t);
} OrtAllocatorTable;

enum { ALIGNMENT = 64 }; /* what ONNX Runtime's kernels expect */

static OrtMemoryInfo *INFO;
static void (*THROW)(void);

/* Of the run of this thread. Outside of runs (weights, while a model is opened) nothing is bounded. */
typedef struct {
    int64_t used, peak, limit;
    int on, over;
} budget;
static _Thread_local budget RUN __attribute__((tls_model("initial-exec")));

static void *allocate(OrtAllocatorTable *table, size_t n) {
    (void)table;
    if (!n) return NULL;
    if (n > PTRDIFF_MAX - ALIGNMENT || (RUN.on && (int64_t)n > RUN.limit - RUN.used)) {
        RUN.over = 1;
        THROW();
    }
    void *p = aligned_alloc(ALIGNMENT, (n + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1));
    if (!p) THROW();
    if (RUN.on) {
        RUN.used += malloc_usable_size(p);
        if (RUN.used > RUN.peak) RUN.peak = RUN.used;
    }
    return p;
}

static void release(OrtAllocatorTable *table, void *p) {
    (void)table;
    if (p && RUN.on) RUN.used -= malloc_usable_size(p);
    free(p);
}

static const OrtMemoryInfo *info(const OrtAllocatorTable *table) {
    (void)table;
    return INFO;
}

static OrtAllocatorTable ALLOCATOR = {MW_ORT_API_VERSION, allocate, release, info, allocate};

OrtStatus *mw_budget_register(const OrtApi *api, OrtEnv *env, void *library) {
    THROW = (void (*)(void))dlsym(library, "_ZSt17__throw_bad_allocv");
    if (!THROW) return NULL;
    OrtStatus *bad = ort_cpu_memory(api, ORT_DEVICE_ALLOCATOR, ORT_MEMORY_DEFAULT, &INFO);
    return bad ? bad : ort_register_allocator(api, env, &ALLOCATOR);
}

void mw_budget_begin(int64_t bytes) { RUN = (budget){0, 0, bytes > 0 ? bytes : INT64_MAX, 1, 0}; }

int64_t mw_budget_end(int *over) {
    RUN.on = 0;
    *over = RUN.over;
    return RUN.peak;
}
