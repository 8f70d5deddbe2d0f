#define _GNU_SOURCE
#include "session.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "budget.h"
#include "note.h"
#include "run.h"
#include "thread_start.h"

static const OrtApi *API;
static OrtEnv *ENV;
static OrtMemoryInfo *MEMORY;
static OrtAllocator *ALLOCATOR;
static const char *VERSION = "";
static _Atomic uint32_t SESSIONS; /* that were ever opened */

const char *mw_ort_load(const char *path) {
    static char error[MW_ERROR_TEXT];
    if (API) return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(error, sizeof error, "%s", dlerror());
        return error;
    }
    const OrtApiBase *(*base)(void) = (const OrtApiBase *(*)(void))dlsym(library, "OrtGetApiBase");
    if (!base) return "it has no OrtGetApiBase: not an ONNX Runtime library";
    const OrtApi *api = base()->get_api(MW_ORT_API_VERSION);
    if (!api) return "it is older than ONNX Runtime 1.20";
    if (mw_ort_failed(api, ort_create_env(api, ORT_LOG_FATAL, "modelward", &ENV), error) ||
        mw_ort_failed(api, ort_disable_telemetry(api, ENV), error) ||
        mw_ort_failed(api, mw_budget_register(api, ENV, library), error) ||
        mw_ort_failed(api, ort_cpu_memory(api, ORT_ARENA_ALLOCATOR, ORT_MEMORY_DEFAULT, &MEMORY), error) ||
        mw_ort_failed(api, ort_default_allocator(api, &ALLOCATOR), error))
        return error;
    VERSION = base()->version_string();
    API = api;
    return NULL;
}

const char *mw_ort_version(void) { return VERSION; }

/* ---- threads of a session's pool: they say whose they are, should the process die in one */

typedef struct {
    void (*work)(void *);
    void *argument;
    uint32_t number;
} pool_work;

static void *work_in_pool(void *argument) {
    pool_work given = *(pool_work *)argument;
    free(argument);
    mw_note_pool_thread(given.number);
    given.work(given.argument);
    return NULL;
}

static const void *start_in_pool(void *number, void (*work)(void *), void *argument) {
    pool_work *given = malloc(sizeof *given);
    pthread_t thread;
    if (!given) return NULL;
    *given = (pool_work){work, argument, (uint32_t)(uintptr_t)number};
    if (mw_thread_start(&thread, work_in_pool, given) == 0) return (const void *)(uintptr_t)thread;
    free(given);
    return NULL;
}

static void join_in_pool(const void *thread) { pthread_join((pthread_t)(uintptr_t)thread, NULL); }

/* ---- what the model declares */

static mw_dtype dtype_of(int type) {
    switch (type) {
        case ORT_BOOL: return MW_BOOL;
        case ORT_UINT8: return MW_UINT8;
        case ORT_UINT16: return MW_UINT16;
        case ORT_UINT32: return MW_UINT32;
        case ORT_UINT64: return MW_UINT64;
        case ORT_INT8: return MW_INT8;
        case ORT_INT16: return MW_INT16;
        case ORT_INT32: return MW_INT32;
        case ORT_INT64: return MW_INT64;
        case ORT_FLOAT16: return MW_FP16;
        case ORT_BFLOAT16: return MW_BF16;
        case ORT_FLOAT: return MW_FP32;
        case ORT_DOUBLE: return MW_FP64;
        case ORT_STRING: return MW_BYTES;
        default: return MW_INVALID;
    }
}

static int declare(mw_session *s, int output, size_t i, mw_declared *d, char error[MW_ERROR_TEXT]) {
    const OrtApi *a = s->api;
    OrtTypeInfo *info = NULL;
    const OrtTensorInfo *tensor = NULL;
    char *name = NULL;
    size_t rank = 0;
    int bad;
    bad = mw_ort_failed(a,
                        output ? ort_output_name(a, s->session, i, ALLOCATOR, &name)
                               : ort_input_name(a, s->session, i, ALLOCATOR, &name),
                        error);
    if (bad) return bad;
    d->name = strdup(name);
    mw_ort_failed(a, ort_free(a, ALLOCATOR, name), error);
    if (!d->name) return -1;
    if (mw_ort_failed(a, output ? ort_output_type(a, s->session, i, &info) : ort_input_type(a, s->session, i, &info),
                      error))
        return -1;
    bad = mw_ort_failed(a, ort_onnx_type(a, info, &d->onnx_type), error);
    if (!bad && d->onnx_type == ORT_TYPE_TENSOR) {
        bad = mw_ort_failed(a, ort_as_tensor_info(a, info, &tensor), error) ||
              mw_ort_failed(a, ort_element_type(a, tensor, &d->element_type), error) ||
              mw_ort_failed(a, ort_rank(a, tensor, &rank), error);
        if (!bad && rank > MW_MAX_RANK) {
            snprintf(error, MW_ERROR_TEXT, "'%s' has %zu dimensions; at most %d are supported", d->name, rank,
                     MW_MAX_RANK);
            bad = -1;
        }
        if (!bad) {
            d->rank = (uint32_t)rank;
            d->dtype = dtype_of(d->element_type);
            bad = rank ? mw_ort_failed(a, ort_dimensions(a, tensor, d->shape, rank), error) : 0;
        }
    }
    ort_release_type(a, info);
    return bad;
}

/* ---- opened and closed */

mw_session *mw_session_open(const void *bytes, size_t size, const char *path, int threads, char error[MW_ERROR_TEXT]) {
    OrtSessionOptions *options = NULL;
    mw_session *s = calloc(1, sizeof *s);
    size_t n = 0;
    snprintf(error, MW_ERROR_TEXT, "out of memory");
    if (!s || !API) goto fail;
    s->execute = mw_run_here;
    s->number = 1 + atomic_fetch_add(&SESSIONS, 1);
    mw_note_session(s->number); /* a load's: opening and its first runs may die in the pool, too */
    s->api = API;
    s->memory = MEMORY;
    s->allocator = ALLOCATOR;
    if (mw_ort_failed(API, ort_create_session_options(API, &options), error) ||
        mw_ort_failed(API, ort_set_intra_threads(API, options, threads), error) ||
        mw_ort_failed(API, ort_set_inter_threads(API, options, 1), error) ||
        mw_ort_failed(API, ort_set_thread_create(API, options, start_in_pool), error) ||
        mw_ort_failed(API, ort_set_thread_options(API, options, (void *)(uintptr_t)s->number), error) ||
        mw_ort_failed(API, ort_set_thread_join(API, options, join_in_pool), error) ||
        mw_ort_failed(API, ort_set_log_severity(API, options, ORT_LOG_FATAL), error) ||
        mw_ort_failed(API, ort_set_optimisation(API, options, ORT_OPTIMISE_ALL), error) ||
        mw_ort_failed(API, ort_add_session_config(API, options, "session.use_env_allocators", "1"), error) ||
        /* idle pool threads must sleep, not spin: other models share these cores */
        mw_ort_failed(API, ort_add_session_config(API, options, "session.intra_op.allow_spinning", "0"), error))
        goto fail;
    if (mw_ort_failed(API,
                      bytes ? ort_create_session_from_array(API, ENV, bytes, size, options, &s->session)
                            : ort_create_session(API, ENV, path, options, &s->session),
                      error))
        goto fail;
    ort_release_session_options(API, options);
    options = NULL;
    if (mw_ort_failed(API, ort_input_count(API, s->session, &n), error)) goto fail;
    if (n > MW_MAX_TENSORS) {
        snprintf(error, MW_ERROR_TEXT, "it has %zu inputs; at most %d are supported", n, MW_MAX_TENSORS);
        goto fail;
    }
    s->inputs = (uint32_t)n;
    if (mw_ort_failed(API, ort_output_count(API, s->session, &n), error)) goto fail;
    if (n > MW_MAX_TENSORS || n == 0) {
        snprintf(error, MW_ERROR_TEXT, "it has %zu outputs; 1 to %d are supported", n, MW_MAX_TENSORS);
        goto fail;
    }
    s->outputs = (uint32_t)n;
    s->input = calloc(s->inputs + 1, sizeof *s->input);
    s->output = calloc(s->outputs, sizeof *s->output);
    s->input_name = calloc(s->inputs + 1, sizeof *s->input_name);
    s->output_name = calloc(s->outputs, sizeof *s->output_name);
    if (!s->input || !s->output || !s->input_name || !s->output_name) goto fail;
    for (uint32_t i = 0; i < s->inputs; i++) {
        if (declare(s, 0, i, &s->input[i], error)) goto fail;
        s->input_name[i] = s->input[i].name;
    }
    for (uint32_t i = 0; i < s->outputs; i++) {
        if (declare(s, 1, i, &s->output[i], error)) goto fail;
        s->output_name[i] = s->output[i].name;
    }
    return s;
fail:
    if (options) ort_release_session_options(API, options);
    mw_session_close(s);
    return NULL;
}

void mw_session_close(mw_session *s) {
    if (!s) return;
    for (uint32_t i = 0; s->input && i < s->inputs; i++) free(s->input[i].name);
    for (uint32_t i = 0; s->output && i < s->outputs; i++) free(s->output[i].name);
    free(s->input);
    free(s->output);
    free(s->input_name);
    free(s->output_name);
    if (s->session) ort_release_session(s->api, s->session);
    free(s);
}
