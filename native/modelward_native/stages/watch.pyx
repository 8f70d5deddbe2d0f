"""At completion: what a request's rows and their answers say of its caller, and whether this answer is given out.

Its rows were looked at in `score`. However it ends they are judged: a thief whose requests are refused is still one. An answer
that raises its caller's step is itself the first that is softened.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free

from modelward_native.detect.budget cimport budget_step
from modelward_native.detect.kernel cimport MW_LABEL_NONE, mw_watch_answer, mw_watch_answer_of, mw_watch_seen, mw_watched
from modelward_native.detect.policy cimport NEAR_ALLOW, NEAR_ROUND, Policy
from modelward_native.detect.steps cimport MW_CAUSE_BUDGET, note_step
from modelward_native.detect.suspicion cimport (
    MW_EVIDENCE_MOST, MW_STEP_BLOCK, MW_STEP_DELAY, MW_STEP_FALLBACK, MW_STEP_OBSERVE, MW_STEP_ROUND, MW_STEP_TOP_CLASS,
    MW_YOUNG_ROWS, mw_suspect, mw_step, mw_suspect_again, mw_suspect_key, mw_suspect_time)
from modelward_native.detect.watch cimport Watching, day_of
from modelward_native.outputs.class_scores cimport (
    MW_OUTPUT_FOUND, mw_class_scores, mw_class_scores_find, mw_class_scores_in, mw_class_scores_label, mw_row_label)
from modelward_native.outputs.guards cimport find_guarded
from modelward_native.request.chosen_rows cimport mw_chosen_row
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport WITHHELD_FALLBACK, WITHHELD_TOP_CLASS
from modelward_native.request.state cimport State
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport REASON_NONE, REASON_RESTRICTED
from modelward_native.shadow.mirror cimport message_of
from modelward_native.stages.restrict cimport step_now, would_step
from modelward_native.stages.stage cimport Result, withhold

cdef enum:
    LABELS = 63                   # that neighbours are told apart by; of more classes, a row keeps its own top class
    WITHHELD_SHARE = 8            # one distinct row in so many that are looked at: the request gets no answer of the model

# Evidence of near duplicates that leads to rounded scores and no further; less while an identity is young (detect/suspicion.h).
cdef float NEAR_TO_ROUND = 18.9
cdef float NEAR_TO_ROUND_YOUNG = 15.4


cdef bint watch(State server, Exchange *x, Result *r, int64_t now) noexcept:
    cdef const Policy *policy = x.policy
    cdef mw_suspect *s
    cdef uint64_t key
    cdef bint is_withheld
    if x.watched_count == 0:
        return True
    key = mw_suspect_key(x.payers.identity, x.asked.suspect_key)
    s = mw_suspect_again(x.asked.suspicion, x.suspect, key, now)
    if s != NULL:                 # else operators hold all records of its line
        is_withheld = judge(server, x, r, s, key, now)
        x.step = max(x.step, step_now(x.asked, policy, s, now))
        x.would = max(x.would, would_step(x.asked, policy, s, now))
        if (policy.acts and policy.strongest >= MW_STEP_FALLBACK and is_withheld
                and r.answer != NULL and x.fallback_reason == REASON_NONE):
            if x.step < MW_STEP_FALLBACK:
                x.asked.counters.withheld[<int>WITHHELD_FALLBACK] += 1
            withhold(x, r, REASON_RESTRICTED)
        if x.first_label and x.step < MW_STEP_TOP_CLASS:
            x.step = <unsigned char>MW_STEP_TOP_CLASS    # of this answer alone
            x.asked.counters.withheld[<int>WITHHELD_TOP_CLASS] += r.answer != NULL
        if x.first_label > <int>LABELS:
            x.first_label = 0
    free(x.watched_rows)
    x.watched_rows = NULL
    x.watched_count = 0
    return True


cdef bint judge(State server, Exchange *x, Result *r, mw_suspect *s, uint64_t key, int64_t now) noexcept:
    """Its rows that were looked at, one after the other. Whether too many of those that are no repeats are to get no answer of
    the model: repeats are no padding."""
    cdef Watching *w = x.asked.watching
    cdef const mw_watched *rows = x.watched_rows if x.watched_rows != NULL else &x.watched
    cdef uint32_t i, withheld = 0, distinct = 0, now_tenths = mw_suspect_time(now), day = day_of(w, now)
    cdef uint32_t block_for = <uint32_t>(x.policy.block // 100000000)
    cdef int64_t row, step = x.watched_step
    cdef mw_watch_answer_of answer
    cdef mw_watch_seen seen
    cdef mw_class_scores scores
    cdef mw_row_label label
    cdef mw_step before = <mw_step>s.step, spent = MW_STEP_OBSERVE, spends
    cdef bint told = find_scores(x, r, &scores)
    if s.day == <uint16_t>day:
        spent = <mw_step>min(s.spends, <uint8_t>MW_STEP_BLOCK)
    answer.near_most = near_most(x.policy, s)
    answer.acted = x.policy.acts
    answer.weight = <float>(precision_of(x, r) * step)
    for i in range(x.watched_count):
        answer.label, answer.margin = MW_LABEL_NONE, 1
        row = mw_chosen_row(x.rows_seed, i, step, x.rows)
        if told and row < <int64_t>scores.rows:
            label = mw_class_scores_label(&scores, <uint64_t>row)
            answer.label = <int32_t>min(label.label, <int64_t>0x7fffffff)
            answer.margin = <float>label.margin
        mw_watch_answer(&w.kernel, s, key, &rows[i], &answer, day, now_tenths, block_for, &seen)
        withheld += seen.withheld
        distinct += 1 if seen.withheld or not seen.repeated else 0
    if seen.step != before:
        note_step(server.steps, x, s, before, seen.step, seen.signal, now)
    spends = budget_step(x.policy, s, day)
    if spends != spent:           # also where the configuration has another budget since the last row
        s.spends, s.since = <uint8_t>spends, now_tenths
        note_step(server.steps, x, s, spent, spends, MW_CAUSE_BUDGET, now)
    if x.watched_count == 1 and told and seen.first_label >= 0 and x.policy.acts and x.policy.strongest >= MW_STEP_TOP_CLASS:
        x.first_label = <unsigned char>((seen.first_label if scores.columns <= <uint64_t>LABELS else <int>LABELS) + 1)
    return withheld * WITHHELD_SHARE > distinct


cdef bint find_scores(Exchange *x, Result *r, mw_class_scores *scores) noexcept:
    """Of the model's own answer; False where it has given none, or declares none. One walk finds guarded outputs too."""
    cdef mw_span message
    if r.answer == NULL or not x.asked.has_scores or x.fallback_reason != REASON_NONE:
        return False
    message = message_of(x, r.answer)
    if x.asked.scores_guarded:
        r.found = find_guarded(x.asked.guarded, <unsigned char *>message.data, message.size)
        if r.found != NULL:
            return mw_class_scores_in(&r.found[x.asked.scores_guarded - 1], &x.asked.scores, scores) == MW_OUTPUT_FOUND
    return mw_class_scores_find(<unsigned char *>message.data, message.size, &x.asked.scores, scores) == MW_OUTPUT_FOUND


cdef double precision_of(const Exchange *x, const Result *r) noexcept:
    """How much of its budget a distinct row costs: little less for a rounded answer or a label, for they copy a model as well."""
    if (r.answer == NULL and not r.sent_up) or x.step >= MW_STEP_FALLBACK:
        return 0
    if x.step == MW_STEP_TOP_CLASS or x.step == MW_STEP_DELAY:
        return 0.6
    return 0.8 if x.step == MW_STEP_ROUND else 1


cdef float near_most(const Policy *policy, const mw_suspect *s) noexcept:
    if policy.near_duplicates == NEAR_ALLOW:
        return 0
    if policy.near_duplicates == NEAR_ROUND:
        return NEAR_TO_ROUND_YOUNG if s.distinct < MW_YOUNG_ROWS else NEAR_TO_ROUND
    return MW_EVIDENCE_MOST
