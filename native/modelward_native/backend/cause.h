/* The runtime's words about a failed run, as a caller may read them: without paths, code locations, names of nodes. */
#ifndef MODELWARD_CAUSE_H
#define MODELWARD_CAUSE_H

#include <stddef.h>

/* Writes at most size bytes, the final 0 among them, of printable ASCII; words that look like a path, a file, a host or a name
 * of C++ are left out. to is empty where nothing is left. size > 0. */
void mw_cause(const char *words, char *to, size_t size);

#endif
