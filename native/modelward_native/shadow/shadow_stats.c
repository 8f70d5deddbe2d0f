#include "shadow_stats.h"

#include "answer_output.h"

void mw_shadow_record(mw_shadow_stats *f, const mw_comparison *c, int64_t primary_ns, int64_t shadow_ns) {
    if (c->status == MW_PRIMARY_UNREADABLE) {
        f->dropped[MW_DROP_VOID]++;
        return;
    }
    f->compared++;
    f->disagreement += c->disagreement;
    f->disagreeing += c->disagreement > 0;
    f->unreadable_answers += c->status == MW_SHADOW_UNREADABLE;
    f->missing += c->missing;
    f->extra += c->extra;
    f->datatype += c->datatype;
    f->shape += c->shape;
    f->unreadable += c->unreadable;
    f->labels += c->labels;
    f->labels_differ += c->labels_differ;
    f->numbers += c->numbers;
    f->differences += c->differences;
    f->beyond += c->beyond;
    f->nan_primary += c->nan_primary;
    f->nan_shadow += c->nan_shadow;
    f->nan_both += c->nan_both;
    f->unseen += c->unseen;
    f->absolute_sum += c->absolute_sum;
    f->relative_sum += c->relative_sum;
    f->absolute_max = mw_larger(c->absolute_max, f->absolute_max);
    f->relative_max = mw_larger(f->relative_max, c->relative_max);
    for (uint32_t i = 0; i < c->scores; i++) {
        f->score_primary[mw_score_cell(c->score_primary[i])]++;
        f->score_shadow[mw_score_cell(c->score_shadow[i])]++;
    }
    mw_histogram_record_ns(&f->latency_primary, primary_ns);
    mw_histogram_record_ns(&f->latency_shadow, shadow_ns);
}

static void add_counts(uint64_t *to, const uint64_t *from, unsigned count) {
    for (unsigned i = 0; i < count; i++) to[i] += from[i];
}

void mw_shadow_add(mw_shadow_stats *to, const mw_shadow_stats *from) {
    to->compared += from->compared;
    to->primary_failed += from->primary_failed;
    to->shadow_failed += from->shadow_failed;
    to->both_failed += from->both_failed;
    to->disagreement += from->disagreement;
    to->disagreeing += from->disagreeing;
    to->unreadable_answers += from->unreadable_answers;
    to->missing += from->missing;
    to->extra += from->extra;
    to->datatype += from->datatype;
    to->shape += from->shape;
    to->unreadable += from->unreadable;
    to->labels += from->labels;
    to->labels_differ += from->labels_differ;
    to->numbers += from->numbers;
    to->differences += from->differences;
    to->beyond += from->beyond;
    to->nan_primary += from->nan_primary;
    to->nan_shadow += from->nan_shadow;
    to->nan_both += from->nan_both;
    to->unseen += from->unseen;
    to->absolute_sum += from->absolute_sum;
    to->relative_sum += from->relative_sum;
    to->absolute_max = mw_larger(to->absolute_max, from->absolute_max);
    to->relative_max = mw_larger(to->relative_max, from->relative_max);
    add_counts(to->dropped, from->dropped, MW_DROPS);
    add_counts(to->score_primary, from->score_primary, MW_SCORE_CELLS);
    add_counts(to->score_shadow, from->score_shadow, MW_SCORE_CELLS);
    to->latency_primary.sum += from->latency_primary.sum;
    to->latency_shadow.sum += from->latency_shadow.sum;
    add_counts(to->latency_primary.cell, from->latency_primary.cell, MW_CELLS);
    add_counts(to->latency_shadow.cell, from->latency_shadow.cell, MW_CELLS);
}

void mw_window_record(mw_shadow_window *w, const mw_comparison *c) {
    for (uint32_t i = 0; i < c->scores; i++) {
        w->primary[w->written % MW_SHADOW_WINDOW] = c->score_primary[i];
        w->shadow[w->written % MW_SHADOW_WINDOW] = c->score_shadow[i];
        w->written++;
    }
}
