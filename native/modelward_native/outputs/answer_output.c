#include "answer_output.h"

int mw_output_view(const mw_scan *answer, uint32_t i, uint32_t most, uint8_t *typed, mw_view *view) {
    const mw_scan_input *tensor = &answer->input[i];
    view->dtype = mw_dtype_of(tensor->datatype);
    view->elements = mw_oip_elements(tensor->shape, tensor->rank);
    if (view->dtype == MW_INVALID || view->elements < 0 || tensor->shared_memory) return 0;
    size_t each = mw_dtype_size(view->dtype);
    if (answer->raws) {
        if (tensor->contents_kinds || answer->raws != answer->inputs) return 0;
        view->raw = answer->raw[i];
        return each ? view->raw.size == (size_t)view->elements * each : (size_t)view->elements <= view->raw.size / 4;
    }
    int kind = mw_oip_contents_kind(view->dtype);
    view->raw = (mw_span){typed, 0};
    if (tensor->contents_kinds & ~(1u << kind)) return 0;
    if (view->elements == 0) return !tensor->contents_kinds;
    if (!kind || tensor->contents_count[kind] != (uint64_t)view->elements) return 0;
    uint64_t count = view->elements < most ? (uint64_t)view->elements : most;
    view->raw.size = mw_oip_contents_start(tensor, view->dtype, count, typed, MW_COMPARE_TYPED);
    return each == 0 || view->raw.size == count * each;
}
