#include "rows.h"

#include "chosen_rows.h"

/* The hashes of row `wanted`'s categories; cursor: where each input's next row begins. -1 where one leaves its tensor. */
static int hash_row(const mw_profile *p, const mw_view *view, int64_t rows, size_t *cursor, uint64_t *to) {
    for (int32_t i = 0; i < p->inputs; i++) {
        const mw_profile_input *in = p->input + i;
        if (view[i].dtype != MW_BYTES) continue;
        const mw_span raw = view[i].raw;
        const int64_t elements = view[i].elements / rows;
        for (int32_t c = 0; c < in->width; c++) to[in->first + c] = 0;
        for (int64_t e = 0; e < elements; e++) {
            uint32_t size;
            if (raw.size - cursor[i] < sizeof size) return -1;
            memcpy(&size, raw.data + cursor[i], sizeof size);
            cursor[i] += sizeof size;
            if (raw.size - cursor[i] < size) return -1;
            uint64_t *of = to + in->first + (in->kind == MW_INPUT_CATEGORIES ? e : 0);
            *of = mw_category_hash(*of, raw.data + cursor[i], size);
            cursor[i] += size;
        }
    }
    return 0;
}

uint32_t mw_observe_rows(const mw_profile *p, const mw_profile *raw, const mw_view *view, int64_t rows, uint32_t count,
                         int64_t step, uint64_t seed, float *row, float *scratch, mw_observed_row *out, float *features,
                         uint64_t *categories) {
    mw_gather plain, standard;
    size_t cursor[MW_MAX_TENSORS] = {0};
    float *const other = row + mw_score_row_size(p);
    if (mw_gather_begin(&standard, p, view, rows) < 0 || mw_gather_begin(&plain, raw, view, rows) < 0) return 0;
    for (int64_t k = 0, next = 0; k < count; k++) {
        const int64_t wanted = mw_chosen_row(seed, k, step, rows);
        mw_score score;
        if (wanted >= rows) return 0;
        if (p->columns) { /* strings have no fixed size: the rows between are walked over */
            uint64_t *to = categories + (size_t)k * (size_t)p->columns;
            for (; next <= wanted; next++)
                if (hash_row(p, view, rows, cursor, to) < 0) return 0;
            while (standard.next < wanted)
                if (mw_gather_row(&standard, row) != 1 || mw_gather_row(&plain, other) != 1) return 0;
        } else {
            standard.next = plain.next = wanted;
        }
        if (mw_gather_row(&standard, row) != 1 || mw_gather_row(&plain, other) != 1) return 0;
        mw_score_row(p, row, scratch, &score);
        memcpy(features + (size_t)k * (size_t)p->features, other, (size_t)p->features * sizeof *features);
        out[k] = (mw_observed_row){score.score, score.p_value, (uint32_t)wanted, score.flags, score.cell, 0};
    }
    return count;
}
