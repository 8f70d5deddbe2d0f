/* The part of ONNX Runtime's C API that Modelward calls, by position in its function table.
 *
 * The wheel ships libonnxruntime.so but no header. The table is append-only and versioned: GetApi(20) answers with a table
 * whose first entries have these positions in every release since 1.20, or with NULL. Calling C directly needs no GIL
 * and no Python object per run. Every call that returns a status returns NULL for success; the caller releases others. */
#ifndef MODELWARD_ORT_H
#define MODELWARD_ORT_H

#include <stddef.h>
#include <stdint.h>

enum { MW_ORT_API_VERSION = 20 };

typedef struct OrtStatus OrtStatus;
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtValue OrtValue;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtTensorInfo OrtTensorInfo; /* OrtTensorTypeAndShapeInfo */

/* of a session's pool: starts a thread that does work(argument), NULL where it cannot; waits for its end */
typedef const void *(*OrtThreadCreate)(void *options, void (*work)(void *), void *argument);
typedef void (*OrtThreadJoin)(const void *thread);

typedef struct {
    void *slot[253];
} OrtApi;

typedef struct {
    const OrtApi *(*get_api)(uint32_t version);
    const char *(*version_string)(void);
} OrtApiBase;

/* ONNXTensorElementDataType */
enum {
    ORT_FLOAT = 1,
    ORT_UINT8,
    ORT_INT8,
    ORT_UINT16,
    ORT_INT16,
    ORT_INT32,
    ORT_INT64,
    ORT_STRING,
    ORT_BOOL,
    ORT_FLOAT16,
    ORT_DOUBLE,
    ORT_UINT32,
    ORT_UINT64,
    ORT_BFLOAT16 = 16,
};
enum { ORT_TYPE_TENSOR = 1 }; /* ONNXType */
enum { ORT_DEVICE_ALLOCATOR = 0, ORT_ARENA_ALLOCATOR = 1, ORT_MEMORY_DEFAULT = 0 };
enum { ORT_LOG_FATAL = 4, ORT_OPTIMISE_ALL = 99 }; /* its errors come back as statuses too */

/* name, slot, return type, parameters, arguments */
/* clang-format off: a row is a line */
#define MW_ORT_CALLS(CALL)                                                                                             \
    CALL(error_message, 2, const char *, (const OrtApi *a, const OrtStatus *s), (s), (const OrtStatus *))              \
    CALL(create_env, 3, OrtStatus *, (const OrtApi *a, int level, const char *id, OrtEnv **out), (level, id, out),     \
         (int, const char *, OrtEnv **))                                                                               \
    CALL(disable_telemetry, 6, OrtStatus *, (const OrtApi *a, const OrtEnv *e), (e), (const OrtEnv *))                 \
    CALL(                                                                                                              \
        create_session_from_array, 8, OrtStatus *,                                                                     \
        (const OrtApi *a, const OrtEnv *e, const void *model, size_t n, const OrtSessionOptions *o, OrtSession **out), \
        (e, model, n, o, out), (const OrtEnv *, const void *, size_t, const OrtSessionOptions *, OrtSession **))       \
    CALL(create_session, 7, OrtStatus *,                                                                               \
         (const OrtApi *a, const OrtEnv *e, const char *path, const OrtSessionOptions *o, OrtSession **out),           \
         (e, path, o, out), (const OrtEnv *, const char *, const OrtSessionOptions *, OrtSession **))                  \
    CALL(run, 9, OrtStatus *,                                                                                          \
         (const OrtApi *a, OrtSession *s, const OrtRunOptions *o, const char *const *in_names,                         \
          const OrtValue *const *in, size_t ins, const char *const *out_names, size_t outs, OrtValue **out),           \
         (s, o, in_names, in, ins, out_names, outs, out),                                                              \
         (OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *, size_t,                   \
          const char *const *, size_t, OrtValue **))                                                                   \
    CALL(create_session_options, 10, OrtStatus *, (const OrtApi *a, OrtSessionOptions **out), (out),                   \
         (OrtSessionOptions **))                                                                                       \
    CALL(set_log_severity, 22, OrtStatus *, (const OrtApi *a, OrtSessionOptions *o, int level), (o, level),            \
         (OrtSessionOptions *, int))                                                                                   \
    CALL(set_optimisation, 23, OrtStatus *, (const OrtApi *a, OrtSessionOptions *o, int level), (o, level),            \
         (OrtSessionOptions *, int))                                                                                   \
    CALL(set_intra_threads, 24, OrtStatus *, (const OrtApi *a, OrtSessionOptions *o, int n), (o, n),                   \
         (OrtSessionOptions *, int))                                                                                   \
    CALL(set_inter_threads, 25, OrtStatus *, (const OrtApi *a, OrtSessionOptions *o, int n), (o, n),                   \
         (OrtSessionOptions *, int))                                                                                   \
    CALL(input_count, 30, OrtStatus *, (const OrtApi *a, const OrtSession *s, size_t *out), (s, out),                  \
         (const OrtSession *, size_t *))                                                                               \
    CALL(output_count, 31, OrtStatus *, (const OrtApi *a, const OrtSession *s, size_t *out), (s, out),                 \
         (const OrtSession *, size_t *))                                                                               \
    CALL(input_type, 33, OrtStatus *, (const OrtApi *a, const OrtSession *s, size_t i, OrtTypeInfo **out),             \
         (s, i, out), (const OrtSession *, size_t, OrtTypeInfo **))                                                    \
    CALL(output_type, 34, OrtStatus *, (const OrtApi *a, const OrtSession *s, size_t i, OrtTypeInfo **out),            \
         (s, i, out), (const OrtSession *, size_t, OrtTypeInfo **))                                                    \
    CALL(input_name, 36, OrtStatus *, (const OrtApi *a, const OrtSession *s, size_t i, OrtAllocator *m, char **out),   \
         (s, i, m, out), (const OrtSession *, size_t, OrtAllocator *, char **))                                        \
    CALL(output_name, 37, OrtStatus *, (const OrtApi *a, const OrtSession *s, size_t i, OrtAllocator *m, char **out),  \
         (s, i, m, out), (const OrtSession *, size_t, OrtAllocator *, char **))                                        \
    CALL(create_run_options, 39, OrtStatus *, (const OrtApi *a, OrtRunOptions **out), (out), (OrtRunOptions **))       \
    CALL(set_terminate, 46, OrtStatus *, (const OrtApi *a, OrtRunOptions *o), (o), (OrtRunOptions *))                  \
    CALL(unset_terminate, 47, OrtStatus *, (const OrtApi *a, OrtRunOptions *o), (o), (OrtRunOptions *))                \
    CALL(create_tensor, 48, OrtStatus *,                                                                               \
         (const OrtApi *a, OrtAllocator *m, const int64_t *shape, size_t rank, int type, OrtValue **out),              \
         (m, shape, rank, type, out), (OrtAllocator *, const int64_t *, size_t, int, OrtValue **))                     \
    CALL(create_tensor_over, 49, OrtStatus *,                                                                          \
         (const OrtApi *a, const OrtMemoryInfo *i, void *data, size_t n, const int64_t *shape, size_t rank, int type,  \
          OrtValue **out),                                                                                             \
         (i, data, n, shape, rank, type, out),                                                                         \
         (const OrtMemoryInfo *, void *, size_t, const int64_t *, size_t, int, OrtValue **))                           \
    CALL(tensor_data, 51, OrtStatus *, (const OrtApi *a, OrtValue *v, void **out), (v, out), (OrtValue *, void **))    \
    CALL(strings_length, 53, OrtStatus *, (const OrtApi *a, const OrtValue *v, size_t *out), (v, out),                 \
         (const OrtValue *, size_t *))                                                                                 \
    CALL(strings_content, 54, OrtStatus *,                                                                             \
         (const OrtApi *a, const OrtValue *v, void *to, size_t n, size_t *offsets, size_t count),                      \
         (v, to, n, offsets, count), (const OrtValue *, void *, size_t, size_t *, size_t))                             \
    CALL(as_tensor_info, 55, OrtStatus *, (const OrtApi *a, const OrtTypeInfo *t, const OrtTensorInfo **out),          \
         (t, out), (const OrtTypeInfo *, const OrtTensorInfo **))                                                      \
    CALL(onnx_type, 56, OrtStatus *, (const OrtApi *a, const OrtTypeInfo *t, int *out), (t, out),                      \
         (const OrtTypeInfo *, int *))                                                                                 \
    CALL(element_type, 60, OrtStatus *, (const OrtApi *a, const OrtTensorInfo *t, int *out), (t, out),                 \
         (const OrtTensorInfo *, int *))                                                                               \
    CALL(rank, 61, OrtStatus *, (const OrtApi *a, const OrtTensorInfo *t, size_t *out), (t, out),                      \
         (const OrtTensorInfo *, size_t *))                                                                            \
    CALL(dimensions, 62, OrtStatus *, (const OrtApi *a, const OrtTensorInfo *t, int64_t *out, size_t n), (t, out, n),  \
         (const OrtTensorInfo *, int64_t *, size_t))                                                                   \
    CALL(value_info, 65, OrtStatus *, (const OrtApi *a, const OrtValue *v, OrtTensorInfo **out), (v, out),             \
         (const OrtValue *, OrtTensorInfo **))                                                                         \
    CALL(cpu_memory, 69, OrtStatus *, (const OrtApi *a, int allocator, int type, OrtMemoryInfo **out),                 \
         (allocator, type, out), (int, int, OrtMemoryInfo **))                                                         \
    CALL(free, 76, OrtStatus *, (const OrtApi *a, OrtAllocator *m, void *p), (m, p), (OrtAllocator *, void *))         \
    CALL(default_allocator, 78, OrtStatus *, (const OrtApi *a, OrtAllocator **out), (out), (OrtAllocator **))          \
    CALL(release_status, 93, void, (const OrtApi *a, OrtStatus *p), (p), (OrtStatus *))                                \
    CALL(release_session, 95, void, (const OrtApi *a, OrtSession *p), (p), (OrtSession *))                             \
    CALL(release_value, 96, void, (const OrtApi *a, OrtValue *p), (p), (OrtValue *))                                   \
    CALL(release_run_options, 97, void, (const OrtApi *a, OrtRunOptions *p), (p), (OrtRunOptions *))                   \
    CALL(release_type, 98, void, (const OrtApi *a, OrtTypeInfo *p), (p), (OrtTypeInfo *))                              \
    CALL(release_tensor_info, 99, void, (const OrtApi *a, OrtTensorInfo *p), (p), (OrtTensorInfo *))                   \
    CALL(release_session_options, 100, void, (const OrtApi *a, OrtSessionOptions *p), (p), (OrtSessionOptions *))      \
    CALL(add_session_config, 130, OrtStatus *, (const OrtApi *a, OrtSessionOptions *o, const char *k, const char *v),  \
         (o, k, v), (OrtSessionOptions *, const char *, const char *))                                                 \
    CALL(register_allocator, 176, OrtStatus *, (const OrtApi *a, OrtEnv *e, void *allocator), (e, allocator),          \
         (OrtEnv *, void *))                                                                                           \
    CALL(set_thread_create, 196, OrtStatus *, (const OrtApi *a, OrtSessionOptions *o, OrtThreadCreate f), (o, f),      \
         (OrtSessionOptions *, OrtThreadCreate))                                                                       \
    CALL(set_thread_options, 197, OrtStatus *, (const OrtApi *a, OrtSessionOptions *o, void *p), (o, p),               \
         (OrtSessionOptions *, void *))                                                                                \
    CALL(set_thread_join, 198, OrtStatus *, (const OrtApi *a, OrtSessionOptions *o, OrtThreadJoin f), (o, f),          \
         (OrtSessionOptions *, OrtThreadJoin))                                                                         \
    CALL(string_element, 252, OrtStatus *, (const OrtApi *a, OrtValue *v, size_t i, size_t n, char **out),             \
         (v, i, n, out), (OrtValue *, size_t, size_t, char **))
/* clang-format on */

#define MW_ORT_WRAP(name, position, result, parameters, arguments, types) \
    static inline result ort_##name parameters { return ((result(*) types)a->slot[position])arguments; }
MW_ORT_CALLS(MW_ORT_WRAP)
#undef MW_ORT_WRAP

#endif
