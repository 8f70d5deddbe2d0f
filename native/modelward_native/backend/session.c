#define _GNU_SOURCE
#include "session.h"

#include "budget.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KEEP = 1 << 20 }; /* gathered bytes kept between runs */

static const OrtApi *API;
static OrtEnv *ENV;
static OrtMemoryInfo *MEMORY;
static OrtAllocator *ALLOCATOR;
static const char *VERSION = "";
static _Atomic uint32_t SESSIONS; /* that were ever opened */

/* Of the run of this thread. Initial-exec: a load, not a call. */
static _Thread_local mw_note *CURRENT __attribute__((tls_model("initial-exec")));

/* Of the session whose pool this thread belongs to; 0: of none. */
static _Thread_local uint32_t POOL __attribute__((tls_model("initial-exec")));

static const int DEADLY[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
static mw_death *DEATH;          /* borrowed for good; NULL: nothing is noted */

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
    for (size_t i = 0; i < sizeof DEADLY / sizeof *DEADLY; i++) sigaction(DEADLY[i], &action, NULL);
}

void mw_note_work(mw_note *note) {
    if (CURRENT) CURRENT->dims = 0;
    if (note) note->dims = 1;
    CURRENT = note;
}

static void begin_note(mw_run *run) {
    mw_note *note = run->note;
    uint32_t n = 0;
    for (uint32_t i = 0; i < run->session->inputs; i++)
        for (uint32_t k = 0; k < run->session->input[i].rank && n < MW_NOTE_DIMS; k++) {
            int64_t length = run->in[i].shape[k];
            note->dim[n++] = k == 0 && note->any_rows && length > 0 ? -1 : length;
        }
    note->pool = run->session->number;
    atomic_signal_fence(memory_order_release); /* whoever reads it does so when this process is dead */
    note->dims = n + 1;
    CURRENT = note;
}

static void end_note(mw_run *run) {
    CURRENT = NULL;
    run->note->dims = 0;
}

/* ---- threads of a session's pool: they say whose they are, should the process die in one */

typedef struct {
    void (*work)(void *);
    void *argument;
    uint32_t number;
} pool_work;

static void *work_in_pool(void *argument) {
    pool_work given = *(pool_work *)argument;
    free(argument);
    POOL = given.number;
    given.work(given.argument);
    return NULL;
}

static const void *start_in_pool(void *number, void (*work)(void *), void *argument) {
    pool_work *given = malloc(sizeof *given);
    sigset_t all, before;
    pthread_t thread;
    if (!given) return NULL;
    *given = (pool_work){work, argument, (uint32_t)(uintptr_t)number};
    sigfillset(&all); /* signals belong to the main thread, but for those that a thread causes itself */
    for (size_t i = 0; i < sizeof DEADLY / sizeof *DEADLY; i++) sigdelset(&all, DEADLY[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int bad = pthread_create(&thread, NULL, work_in_pool, given);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!bad) return (const void *)(uintptr_t)thread;
    free(given);
    return NULL;
}

static void join_in_pool(const void *thread) { pthread_join((pthread_t)(uintptr_t)thread, NULL); }

/* Consumes the status: 0 for success, else -1 with its words in error. */
static int failed(const OrtApi *api, OrtStatus *status, char error[MW_ERROR_TEXT]) {
    if (!status) return 0;
    snprintf(error, MW_ERROR_TEXT, "%s", ort_error_message(api, status));
    ort_release_status(api, status);
    return -1;
}

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
    if (failed(api, ort_create_env(api, ORT_LOG_FATAL, "modelward", &ENV), error) ||
        failed(api, ort_disable_telemetry(api, ENV), error) ||
        failed(api, mw_budget_register(api, ENV, library), error) ||
        failed(api, ort_cpu_memory(api, ORT_ARENA_ALLOCATOR, ORT_MEMORY_DEFAULT, &MEMORY), error) ||
        failed(api, ort_default_allocator(api, &ALLOCATOR), error))
        return error;
    VERSION = base()->version_string();
    API = api;
    return NULL;
}

const char *mw_ort_version(void) { return VERSION; }

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

static int type_of(mw_dtype t) {
    static const int type[MW_DTYPES] = {0, ORT_BOOL, ORT_UINT8, ORT_UINT16, ORT_UINT32, ORT_UINT64, ORT_INT8, ORT_INT16,
                                        ORT_INT32, ORT_INT64, ORT_FLOAT16, ORT_BFLOAT16, ORT_FLOAT, ORT_DOUBLE, ORT_STRING};
    return type[t];
}

static int declare(mw_session *s, int output, size_t i, mw_declared *d, char error[MW_ERROR_TEXT]) {
    const OrtApi *a = s->api;
    OrtTypeInfo *info = NULL;
    const OrtTensorInfo *tensor = NULL;
    char *name = NULL;
    size_t rank = 0;
    int element = 0, bad;
    bad = failed(a, output ? ort_output_name(a, s->session, i, ALLOCATOR, &name) : ort_input_name(a, s->session, i, ALLOCATOR, &name), error);
    if (bad) return bad;
    d->name = strdup(name);
    failed(a, ort_free(a, ALLOCATOR, name), error);
    if (!d->name) return -1;
    if (failed(a, output ? ort_output_type(a, s->session, i, &info) : ort_input_type(a, s->session, i, &info), error)) return -1;
    bad = failed(a, ort_onnx_type(a, info, &d->onnx_type), error);
    if (!bad && d->onnx_type == ORT_TYPE_TENSOR) {
        bad = failed(a, ort_as_tensor_info(a, info, &tensor), error) || failed(a, ort_element_type(a, tensor, &element), error) ||
              failed(a, ort_rank(a, tensor, &rank), error);
        if (!bad && rank > MW_MAX_RANK) {
            snprintf(error, MW_ERROR_TEXT, "'%s' has %zu dimensions; at most %d are supported", d->name, rank, MW_MAX_RANK);
            bad = -1;
        }
        if (!bad) {
            d->rank = (uint32_t)rank;
            d->dtype = dtype_of(element);
            bad = rank ? failed(a, ort_dimensions(a, tensor, d->shape, rank), error) : 0;
        }
    }
    ort_release_type(a, info);
    return bad;
}

static void execute(mw_run *run);

mw_session *mw_session_open(const void *bytes, size_t size, const char *path, int threads, char error[MW_ERROR_TEXT]) {
    OrtSessionOptions *options = NULL;
    mw_session *s = calloc(1, sizeof *s);
    size_t n = 0;
    snprintf(error, MW_ERROR_TEXT, "out of memory");
    if (!s || !API) goto fail;
    s->execute = execute;
    s->number = 1 + atomic_fetch_add(&SESSIONS, 1);
    if (CURRENT) CURRENT->pool = s->number; /* a load's: opening and its first runs may die in the pool, too */
    s->api = API;
    s->memory = MEMORY;
    s->allocator = ALLOCATOR;
    if (failed(API, ort_create_session_options(API, &options), error) ||
        failed(API, ort_set_intra_threads(API, options, threads), error) ||
        failed(API, ort_set_inter_threads(API, options, 1), error) ||
        failed(API, ort_set_thread_create(API, options, start_in_pool), error) ||
        failed(API, ort_set_thread_options(API, options, (void *)(uintptr_t)s->number), error) ||
        failed(API, ort_set_thread_join(API, options, join_in_pool), error) ||
        failed(API, ort_set_log_severity(API, options, ORT_LOG_FATAL), error) ||
        failed(API, ort_set_optimisation(API, options, ORT_OPTIMISE_ALL), error) ||
        failed(API, ort_add_session_config(API, options, "session.use_env_allocators", "1"), error) ||
        /* idle pool threads must sleep, not spin: other models share these cores */
        failed(API, ort_add_session_config(API, options, "session.intra_op.allow_spinning", "0"), error))
        goto fail;
    if (failed(API, bytes ? ort_create_session_from_array(API, ENV, bytes, size, options, &s->session)
                          : ort_create_session(API, ENV, path, options, &s->session), error))
        goto fail;
    ort_release_session_options(API, options);
    options = NULL;
    if (failed(API, ort_input_count(API, s->session, &n), error)) goto fail;
    if (n > MW_MAX_TENSORS) {
        snprintf(error, MW_ERROR_TEXT, "it has %zu inputs; at most %d are supported", n, MW_MAX_TENSORS);
        goto fail;
    }
    s->inputs = (uint32_t)n;
    if (failed(API, ort_output_count(API, s->session, &n), error)) goto fail;
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

int mw_run_init(mw_run *run, mw_session *s) {
    char error[MW_ERROR_TEXT];
    memset(run, 0, sizeof *run);
    run->session = s;
    run->in = calloc(s->inputs + 1, sizeof *run->in);
    run->out = calloc(s->outputs, sizeof *run->out);
    run->in_value = calloc(s->inputs + 1, sizeof *run->in_value);
    run->out_value = calloc(s->outputs, sizeof *run->out_value);
    if (!run->in || !run->out || !run->in_value || !run->out_value) return -1;
    return failed(s->api, ort_create_run_options(s->api, &run->options), error);
}

void mw_run_destroy(mw_run *run) {
    if (!run->session) return;
    mw_run_release(run);
    for (uint32_t i = 0; run->in && i < run->session->inputs; i++) {
        free(run->in[i].data);
        free(run->in[i].element);
    }
    if (run->options) ort_release_run_options(run->session->api, run->options);
    free(run->in);
    free(run->out);
    free(run->in_value);
    free(run->out_value);
    memset(run, 0, sizeof *run);
}

int mw_run_reserve(mw_run *run, uint32_t i, size_t size, size_t elements) {
    mw_run_input *in = &run->in[i];
    in->size = size;
    in->elements = elements;
    if (size > in->capacity || !in->data) {
        size_t capacity = (size + 4095) & ~(size_t)4095;
        if (capacity == 0) capacity = 4096; /* an empty tensor still needs an address */
        free(in->data);
        in->data = aligned_alloc(64, capacity);
        in->capacity = in->data ? capacity : 0;
        if (!in->data) return -1;
    }
    if (elements > in->element_capacity) {
        free(in->element);
        in->element = malloc(elements * sizeof *in->element);
        in->element_capacity = in->element ? elements : 0;
        if (!in->element) return -1;
    }
    return 0;
}

static int make_strings(mw_run *run, mw_run_input *in, uint32_t rank, OrtValue **value) {
    const OrtApi *a = run->session->api;
    if (failed(a, ort_create_tensor(a, run->session->allocator, in->shape, rank, ORT_STRING, value), run->error)) return -1;
    for (size_t k = 0; k < in->elements; k++) {
        char *to = NULL;
        if (failed(a, ort_string_element(a, *value, k, in->element[k].size, &to), run->error)) return -1;
        if (in->element[k].size) memcpy(to, in->element[k].data, in->element[k].size);
    }
    return 0;
}

static int read_strings(mw_run *run, mw_run_output *out) {
    const OrtApi *a = run->session->api;
    size_t length = 0;
    if (failed(a, ort_strings_length(a, out->value, &length), run->error)) return -1;
    out->text = malloc(length ? length : 1);
    out->offset = malloc((out->elements + 1) * sizeof *out->offset);
    if (!out->text || !out->offset) return -1;
    if (out->elements && failed(a, ort_strings_content(a, out->value, out->text, length, out->offset, out->elements), run->error)) return -1;
    out->offset[out->elements] = length;
    return 0;
}

static int read_output(mw_run *run, uint32_t i) {
    const OrtApi *a = run->session->api;
    mw_run_output *out = &run->out[i];
    OrtTensorInfo *info = NULL;
    size_t rank = 0;
    void *data = NULL;
    out->value = run->out_value[i];
    run->out_value[i] = NULL;
    if (!out->value) {
        snprintf(run->error, MW_ERROR_TEXT, "output '%s' was not produced", run->session->output[i].name);
        return -1;
    }
    if (failed(a, ort_value_info(a, out->value, &info), run->error)) return -1;
    int bad = failed(a, ort_rank(a, info, &rank), run->error);
    if (!bad && rank > MW_MAX_RANK) {
        snprintf(run->error, MW_ERROR_TEXT, "output '%s' has %zu dimensions", run->session->output[i].name, rank);
        bad = -1;
    }
    if (!bad && rank) bad = failed(a, ort_dimensions(a, info, out->shape, rank), run->error);
    ort_release_tensor_info(a, info);
    if (bad) return -1;
    out->rank = (uint32_t)rank;
    out->elements = 1;
    for (size_t k = 0; k < rank; k++) out->elements *= (size_t)out->shape[k];
    mw_dtype dtype = run->session->output[i].dtype;
    if (dtype == MW_BYTES) return read_strings(run, out);
    if (failed(a, ort_tensor_data(a, out->value, &data), run->error)) return -1;
    out->data = data;
    out->size = out->elements * mw_dtype_size(dtype);
    return 0;
}

void mw_run_execute(mw_run *run) { run->session->execute(run); }

static void execute(mw_run *run) {
    mw_session *s = run->session;
    const OrtApi *a = s->api;
    int64_t started = mw_now_ns();
    int bad = 0;
    run->failed = 0;
    run->error[0] = 0;
    if (run->note) begin_note(run);
    mw_budget_begin(run->budget);
    for (uint32_t i = 0; i < s->inputs && !bad; i++) {
        mw_run_input *in = &run->in[i];
        mw_declared *d = &s->input[i];
        bad = d->dtype == MW_BYTES
                  ? make_strings(run, in, d->rank, &run->in_value[i])
                  : failed(a, ort_create_tensor_over(a, s->memory, in->data, in->size, in->shape, d->rank, type_of(d->dtype), &run->in_value[i]), run->error);
    }
    if (!bad)
        bad = failed(a, ort_run(a, s->session, run->options, s->input_name, (const OrtValue *const *)run->in_value, s->inputs,
                                s->output_name, s->outputs, run->out_value), run->error);
    run->peak = mw_budget_end(&run->over_budget);
    for (uint32_t i = 0; i < s->inputs; i++)
        if (run->in_value[i]) {
            ort_release_value(a, run->in_value[i]);
            run->in_value[i] = NULL;
        }
    for (uint32_t i = 0; i < s->outputs && !bad; i++) bad = read_output(run, i);
    for (uint32_t i = 0; i < s->outputs; i++)
        if (run->out_value[i]) {
            ort_release_value(a, run->out_value[i]);
            run->out_value[i] = NULL;
        }
    if (run->note) end_note(run); /* a kernel that has written too far may be noticed only when its tensors are given back */
    if (bad && !run->error[0]) snprintf(run->error, MW_ERROR_TEXT, "out of memory");
    run->failed = bad != 0;
    run->took_ns = mw_now_ns() - started;
}

void mw_run_release(mw_run *run) {
    for (uint32_t i = 0; run->out && i < run->session->outputs; i++) {
        mw_run_output *out = &run->out[i];
        if (out->value) ort_release_value(run->session->api, out->value);
        free(out->text);
        free(out->offset);
        memset(out, 0, sizeof *out);
    }
    for (uint32_t i = 0; run->in && i < run->session->inputs; i++) {
        mw_run_input *in = &run->in[i];
        if (in->capacity > KEEP) {
            free(in->data);
            in->data = NULL;
            in->capacity = 0;
        }
        if (in->element_capacity > KEEP / sizeof *in->element) {
            free(in->element);
            in->element = NULL;
            in->element_capacity = 0;
        }
    }
}

void mw_run_terminate(mw_run *run, int on) {
    char error[MW_ERROR_TEXT];
    const OrtApi *a = run->session->api;
    failed(a, on ? ort_set_terminate(a, run->options) : ort_unset_terminate(a, run->options), error);
}
