/* Where tensors lie in what was observed, so that rows of many requests are taken at once. */
#ifndef MODELWARD_TENSOR_PLACES_H
#define MODELWARD_TENSOR_PLACES_H

#include "find_outputs.h"

enum {
    MW_PLACE_NONE = -1,      /* the request has no such tensor, or one with other rows than it says itself */
    MW_PLACE_OTHERWISE = -2, /* its message is to be read with more care: typed contents, no elements, or malformed */
};

typedef struct {
    int64_t begin; /* of its raw form in the message; or MW_PLACE_NONE, MW_PLACE_OTHERWISE, and the rest is 0 */
    int64_t width; /* elements of a row */
    int64_t size;  /* bytes of all rows */
} mw_tensor_place;

/* Fills to[i] for each of the declared tensors, of any datatype, at most MW_MAX_TENSORS, which all have so many rows. BYTES elements are
 * valid where a place is told. Inputs as observe/writer.pyx leaves them; what a worker has half written is OTHERWISE. */
void mw_place_inputs(mw_span message, const mw_declared_output *declared, uint32_t count, int batched, int64_t rows,
                     mw_tensor_place *to);

/* The same of a ModelInferResponse. scan: room for one. */
void mw_place_outputs(mw_span message, const mw_declared_output *declared, uint32_t count, int batched, int64_t rows,
                      mw_scan *scan, mw_tensor_place *to);

#endif
