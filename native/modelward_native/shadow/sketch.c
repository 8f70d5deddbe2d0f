#include "sketch.h"

#include "answer_output.h"

/* Cell of a string: a hash of its size, its first and its last eight bytes, which is a few ns however long it is. */
static unsigned cell_of_string(mw_span s) {
    uint64_t first = 0, last = 0;
    size_t size = s.size < 8 ? s.size : 8;
    if (size) {
        memcpy(&first, s.data, size);
        memcpy(&last, s.data + s.size - size, size);
    }
    uint64_t hash = (first ^ s.size) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32 ^ last) * 0xd6e8feb86659fd93u;
    return (unsigned)((hash >> 32) % MW_SCORE_CELLS);
}

/* Cell of the score of the row whose first `width` numbers begin at `start`: its only one, the second of two, or of more
 * the largest. */
static unsigned cell_of_row(const mw_view *v, uint32_t start, uint32_t width) {
    uint32_t at = width <= 2 ? width - 1 : mw_largest(v, start, width);
    return at == width ? MW_SCORE_CELLS - 1 : mw_score_cell(mw_number(v, start + at));
}

static uint32_t cells_of_floats(const mw_view *v, const mw_scan_input *output, unsigned *cell) {
    int64_t columns = output->rank > 1 ? output->shape[output->rank - 1] : 1;
    uint32_t most = v->elements < MW_SKETCH_ELEMENTS ? (uint32_t)v->elements : MW_SKETCH_ELEMENTS, count = 0;
    if (columns < 1) return 0;
    uint32_t width = columns < most ? (uint32_t)columns : most;
    for (uint32_t start = 0; width && count < MW_COMPARE_SCORES && start + width <= most; start += width)
        cell[count++] = cell_of_row(v, start, width);
    return count;
}

static uint32_t cells_of_labels(const mw_view *v, unsigned *cell) {
    uint32_t most = v->elements < MW_COMPARE_SCORES ? (uint32_t)v->elements : MW_COMPARE_SCORES, count = 0;
    mw_span rest = v->raw, string;
    for (; count < most; count++) {
        if (v->dtype != MW_BYTES) cell[count] = mw_score_cell(mw_integer(v, count));
        else if (mw_next_string(&rest, &string)) cell[count] = cell_of_string(string);
        else break;
    }
    return count;
}

int mw_sketch_add(uint64_t cells[MW_SCORE_CELLS], mw_span answer, mw_compare_scratch *scratch) {
    const mw_scan *scan = &scratch->primary;
    unsigned cell[MW_COMPARE_SCORES];
    uint32_t chosen = 0;
    mw_view view;
    if (mw_oip_scan_answer(answer, MW_COMPARE_WIRE, &scratch->primary) != MW_SCAN_OK || !scan->inputs) return 0;
    while (chosen < scan->inputs && !mw_is_floating(mw_dtype_of(scan->input[chosen].datatype))) chosen++;
    if (chosen == scan->inputs) chosen = 0;
    const mw_scan_input *output = &scan->input[chosen];
    if (!mw_output_view(&scratch->primary, chosen, MW_SKETCH_ELEMENTS, scratch->primary_typed, &view)) return 0;
    uint32_t count = mw_is_floating(view.dtype) ? cells_of_floats(&view, output, cell) : cells_of_labels(&view, cell);
    for (uint32_t i = 0; i < count; i++) cells[cell[i]] += MW_SKETCH_ANSWER / count;
    return count != 0;
}
