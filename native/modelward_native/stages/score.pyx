"""At the message: how unlike the model's training data its rows are. After `decode`, since it needs the tensors."""
from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from modelward_native.detect.kernel cimport mw_watch_new_day, mw_watch_row, mw_watched
from modelward_native.detect.suspicion cimport mw_suspect_key, mw_suspect_prefetch
from modelward_native.detect.watch cimport cell_of, day_of
from modelward_native.backend.random cimport next_random
from modelward_native.request.chosen_rows cimport mw_chosen_row
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport MODE_FALLBACK, MODE_REJECT, Model
from modelward_native.request.state cimport State
from modelward_native.request.tensor cimport MW_MAX_TENSORS, mw_view
from modelward_native.request.verdict cimport REASON_ANOMALY, VERDICT_TEXT, Verdict, refusal
from modelward_native.score.profile cimport mw_gather, mw_gather_begin, mw_gather_row, mw_score, mw_score_row
from modelward_native.telemetry.histogram cimport mw_histogram_record_score

cdef enum:
    SCORED_ROWS = 256             # rows of one request that are scored; of a larger one, one of each stretch of so many


cdef int score(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    """The request's score is that of its most unusual row."""
    cdef Model *m = x.asked
    cdef mw_view views[<int>MW_MAX_TENSORS]
    cdef mw_gather gather
    cdef mw_score worst, of_row
    cdef int64_t row = 0, worst_row = -1, step = 1, stretch = 0, next_row = 0
    cdef bint watching
    cdef int i
    if m.profile == NULL:
        return GO_ON
    if x.view == NULL:
        return pass_unscored(x, v, "its inputs are in shared memory")
    for i in range(m.profile.inputs):
        views[i] = x.view[m.profile_input[i]]
    if mw_gather_begin(&gather, m.profile, views, x.rows) < 0:
        return pass_unscored(x, v, "its inputs have not the shapes that the profile was fitted on")
    if x.rows > SCORED_ROWS:
        step = (x.rows + SCORED_ROWS - 1) // SCORED_ROWS
        m.counters.partly_scored += 1
        x.rows_seed = next_random(&server.random)
        next_row = mw_chosen_row(x.rows_seed, 0, step, x.rows)
    watching = begin_watching(x, m, step, now)
    while mw_gather_row(&gather, m.profile_row) == 1:
        if row == next_row:
            stretch += 1
            next_row = mw_chosen_row(x.rows_seed, stretch, step, x.rows)
            mw_score_row(m.profile, m.profile_row, m.profile_scratch, &of_row)
            if watching:
                watch_row(x, m, &of_row)
            if worst_row < 0 or of_row.score > worst.score:
                worst = of_row
                worst_row = row
                if of_row.p_value <= m.false_positive_rate:
                    memcpy(m.profile_worst, m.profile_row, m.profile_row_bytes)
        row += 1
    if worst_row < 0:
        return GO_ON
    x.score = worst.score
    mw_histogram_record_score(&m.counters.score, worst.score)
    if worst.p_value > m.false_positive_rate:
        return GO_ON
    x.flagged = True
    m.counters.anomalies += 1
    server.callers.note_anomaly(x.stream)
    server.events.note(m, x, &worst, worst_row, now)
    if m.mode == MODE_REJECT or m.mode == MODE_FALLBACK:
        refusal(v, REASON_ANOMALY, NULL)
        snprintf(v.text, VERDICT_TEXT, "the input is unlike the model's training data (anomaly score %.4g, p-value %.3g)",
                 worst.score, worst.p_value)
        return REFUSE
    return GO_ON


cdef bint begin_watching(Exchange *x, Model *m, int64_t step, int64_t now) noexcept:
    """Whether its rows are evidence for or against its caller."""
    cdef int64_t rows = (x.rows + step - 1) // step
    if x.policy == NULL or m.watching == NULL or rows < 1 or m.suspicion == NULL:
        return False
    x.watched_step = step
    if rows > 1:
        x.watched_rows = <mw_watched *>malloc(rows * sizeof(mw_watched))    # at most 14 KiB
        if x.watched_rows == NULL:
            m.counters.unwatched += 1
            return False
    mw_watch_new_day(&m.watching.kernel, day_of(m.watching, now))
    mw_suspect_prefetch(m.suspicion, mw_suspect_key(x.payers.identity, m.suspect_key))
    return True


cdef inline void watch_row(Exchange *x, const Model *m, const mw_score *score) noexcept:
    cdef mw_watched *to = &x.watched if x.watched_rows == NULL else &x.watched_rows[x.watched_count]
    mw_watch_row(&m.watching.kernel, m.profile_row, m.profile.columns, cell_of(score), score.nearest, score.p_value,
                 mw_suspect_key(x.payers.identity, m.suspect_key), to)
    x.watched_count += 1


cdef int pass_unscored(const Exchange *x, Verdict *v, const char *why) noexcept:
    """The request cannot be scored, nor can its rows be evidence. Where anomalous requests are refused, or evidence has an
    effect, it is refused too: else clients could evade both."""
    cdef Model *m = x.asked
    cdef bint acts = m.watching != NULL and x.policy != NULL and x.policy.acts
    m.counters.unscored += 1
    if m.pass_unscored or (m.mode != MODE_REJECT and m.mode != MODE_FALLBACK and not acts):
        return GO_ON
    refusal(v, REASON_ANOMALY, NULL)
    snprintf(v.text, VERDICT_TEXT, "the request cannot be compared with the model's training data: %s", why)
    return REFUSE
