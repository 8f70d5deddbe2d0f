#include "tensor_places.h"

#include "output_index.h"
#include "record.h"

static const mw_tensor_place NONE = {MW_PLACE_NONE, 0, 0}, OTHERWISE = {MW_PLACE_OTHERWISE, 0, 0};

static void all(mw_tensor_place *to, uint32_t count, mw_tensor_place place) {
    for (uint32_t i = 0; i < count; i++) to[i] = place;
}

/* One tensor that has all its bytes. */
static mw_tensor_place place_of(mw_span raw, mw_dtype dtype, const int64_t *shape, uint32_t rank, int batched,
                                int64_t rows, int64_t begin) {
    const int64_t elements = mw_oip_elements(shape, rank);
    const size_t each = mw_dtype_size(dtype);
    if (elements <= 0) return OTHERWISE;
    if (each ? raw.size != (size_t)elements * each : !mw_oip_bytes_valid(raw, elements)) return OTHERWISE;
    if (!batched) return (mw_tensor_place){begin, elements, (int64_t)raw.size};
    if (rank == 0 || shape[0] != rows) return NONE;
    return (mw_tensor_place){begin, elements / rows, (int64_t)raw.size};
}

void mw_place_inputs(mw_span message, const mw_declared_output *declared, uint32_t count, int batched, int64_t rows,
                     mw_tensor_place *to) {
    size_t at = 0;
    all(to, count, NONE);
    for (uint32_t i = 0; message.size && i < count; i++) {
        mw_observed_tensor tensor;
        int64_t shape[MW_MAX_RANK];
        if (message.size - at < sizeof tensor) goto otherwise;
        memcpy(&tensor, message.data + at, sizeof tensor);
        at += sizeof tensor;
        if (tensor.rank > MW_MAX_RANK || (message.size - at) / sizeof shape[0] < tensor.rank) goto otherwise;
        memcpy(shape, message.data + at, tensor.rank * sizeof shape[0]);
        at += tensor.rank * sizeof shape[0];
        if (tensor.size > message.size - at) goto otherwise;
        if (tensor.size && tensor.dtype) {
            const mw_span raw = {message.data + at, (size_t)tensor.size};
            if (tensor.dtype != (uint32_t)declared[i].dtype) goto otherwise;
            to[i] = place_of(raw, declared[i].dtype, shape, tensor.rank, batched, rows, (int64_t)at);
            if (to[i].begin == MW_PLACE_OTHERWISE) goto otherwise;
        }
        at += mw_padded(tensor.size) < message.size - at ? mw_padded(tensor.size) : message.size - at;
    }
    return;
otherwise:
    all(to, count, OTHERWISE);
}

void mw_place_outputs(mw_span message, const mw_declared_output *declared, uint32_t count, int batched, int64_t rows,
                      mw_scan *scan, mw_tensor_place *to) {
    uint8_t seen[MW_MAX_TENSORS] = {0};
    uint32_t next = 0;
    all(to, count, NONE);
    if (!message.size) return;
    if (mw_oip_scan_answer(message, message.size, scan) != MW_SCAN_OK) {
        all(to, count, OTHERWISE);
        return;
    }
    if (scan->raws && scan->raws != scan->inputs) return;
    for (uint32_t i = 0; i < scan->inputs; i++) {
        const mw_scan_input *tensor = &scan->input[i];
        const uint32_t k = mw_output_index(tensor->name, declared, count, next);
        if (k == count) continue;
        next = k + 1;
        if (seen[k]++) { /* twice in the answer: it is not known which counts */
            seen[k] = 1;
            to[k] = NONE;
        } else if (mw_dtype_of(tensor->datatype) == declared[k].dtype) {
            to[k] = scan->raws ? place_of(scan->raw[i], declared[k].dtype, tensor->shape, tensor->rank, batched, rows,
                                          scan->raw[i].data - message.data)
                               : OTHERWISE;
        }
    }
}
