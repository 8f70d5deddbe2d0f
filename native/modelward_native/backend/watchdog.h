/* A watchdog over runs on the loop: one that does not end in time is terminated from outside, without the GIL.
 *
 * Placement (placement.h) keeps expensive runs off the loop by what it has measured. A run can still surprise it, and while it
 * does the loop answers no request; the watchdog bounds that to about one and a half limits, between two operators of the model. */
#ifndef MODELWARD_WATCHDOG_H
#define MODELWARD_WATCHDOG_H

#include <stdint.h>

#include "run.h"

typedef struct mw_watchdog mw_watchdog;

/* NULL if no thread can be had. The thread sleeps while the loop runs no model for a second. */
mw_watchdog *mw_watchdog_new(int64_t limit_ns);
void mw_watchdog_free(mw_watchdog *w);

/* Around one run. leave returns 1 if the run was terminated; the terminate flag is then cleared. About 10 ns together. */
void mw_watchdog_enter(mw_watchdog *w, mw_run *run, int64_t now_ns);
int mw_watchdog_leave(mw_watchdog *w);

#endif
