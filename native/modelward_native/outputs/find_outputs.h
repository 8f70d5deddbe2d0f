/* Named outputs of an answer, found where they lie in it: read there, and changed there.
 *
 * One walk over the message's outermost fields, nothing copied. A tensor whose name comes first, as every writer puts it,
 * and is none of those asked for is passed over. 20 to 50 ns for an ordinary answer. */
#ifndef MODELWARD_FIND_OUTPUTS_H
#define MODELWARD_FIND_OUTPUTS_H

#include "oip.h"

enum { MW_FIND_OUTPUTS = 32 }; /* names that are looked for in one walk */

typedef enum {
    MW_OUTPUT_ABSENT = 0,
    MW_OUTPUT_FOUND,
    MW_OUTPUT_UNREADABLE, /* not as declared, twice in the answer, in shared memory, or its elements do not fill its shape */
} mw_output_state;

typedef struct {
    mw_span name;
    mw_dtype dtype; /* of fixed size: not BYTES */
} mw_declared_output;

typedef struct {
    uint8_t state; /* enum mw_output_state; the rest is set where it is FOUND */
    uint32_t rank;
    int64_t shape[MW_MAX_RANK];
    uint64_t elements;
    uint8_t *data;    /* the elements in their raw form: in the message, or in the spare bytes */
    uint8_t in_spare; /* a change of them changes nothing in the message */
} mw_found_output;

/* Room for typed integers, which lie in no message in their raw form. */
typedef struct {
    uint8_t *data;
    size_t size, used;
} mw_spare_bytes;

/* Fills found[i] for each of `count` names, at most MW_FIND_OUTPUTS, which are distinct; quickest where they stand in the
 * answer in this order. Raw contents, or typed ones. Typed FP32 and FP64 are read in the message where they are one packed field,
 * which is how every library writes them; integers are copied into the spare bytes. What is neither, or has no room there, is
 * UNREADABLE. spare: NULL for none. 0 where the outermost
 * fields are malformed or too many: then none is FOUND. */
int mw_find_outputs(uint8_t *message, size_t size, const mw_declared_output *declared, uint32_t count,
                    mw_found_output *found, mw_spare_bytes *spare);

#endif
