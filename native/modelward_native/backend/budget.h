/* Memory of ONNX Runtime's runs: taken from malloc, counted for each run, and bounded. */
#ifndef MODELWARD_BUDGET_H
#define MODELWARD_BUDGET_H

#include "ort.h"

/* Registers an allocator with env that all sessions with "session.use_env_allocators" use. ONNX Runtime reports want of
 * memory by a C++ exception, which is thrown by a function of the C++ library that it was linked with: where `library` brings
 * none, nothing is registered, and sessions keep their own, unbounded allocators. Returns NULL, or what went wrong. */
OrtStatus *mw_budget_register(const OrtApi *api, OrtEnv *env, void *library);

/* Around one run, in its thread. bytes: that it may hold at once, 0: any number. */
void mw_budget_begin(int64_t bytes);
/* Its peak; *over is 1 if it wanted more. */
int64_t mw_budget_end(int *over);

#endif
