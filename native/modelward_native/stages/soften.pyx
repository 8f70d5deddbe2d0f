"""At completion: a restricted caller gets scores of one digit, or the top class alone, where the answer lies.

After `mirror` and `observe`, which compare and keep what was said; last good answers of restricted callers are not kept at all.
What cannot be read is not given out: an upstream could otherwise be made to answer in a form that escapes it.
"""
from libc.stdint cimport int64_t, uint8_t

from modelward_native.detect.suspicion cimport MW_STEP_ROUND
from modelward_native.outputs.class_scores cimport (
    MW_OUTPUT_FOUND, MW_OUTPUT_UNREADABLE, mw_class_scores, mw_class_scores_find, mw_class_scores_round,
    mw_class_scores_say, mw_class_scores_top, mw_output_state)
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport REASON_NONE, REASON_RESTRICTED
from modelward_native.shadow.mirror cimport message_of
from modelward_native.stages.stage cimport Result, withhold

cdef enum:
    DIGITS = 1                    # of a rounded score


cdef bint soften(State server, Exchange *x, Result *r, int64_t now) noexcept:
    if r.sent_up:
        if x.stream != NULL and x.stream.relay != NULL:
            x.stream.relay.step = x.step    # its answers come by themselves (backend/relay_answers)
        return True
    if x.step < MW_STEP_ROUND or r.answer == NULL or x.mirrors != NULL or is_own(x):
        return True
    if not softened(x.asked, message_of(x, r.answer), x.step, x.first_label):
        withhold(x, r, REASON_RESTRICTED)
    return True


cdef inline bint is_own(const Exchange *x) noexcept:
    """The operator's own choice of an answer: a constant, or the model that stands in for restricted callers."""
    cdef uint8_t tried = x.tried
    if x.fallback_reason == REASON_NONE or tried == 0:
        return False
    if x.asked.fallbacks[tried - 1].constants != NULL:
        return True
    return x.asked.fallbacks[tried - 1].model != NULL and x.fallback_reason == REASON_RESTRICTED


cdef bint softened(const Model *asked, mw_span message, int step, int first_label) noexcept:
    cdef mw_class_scores scores
    cdef mw_output_state found
    if not asked.has_scores:
        return True
    found = mw_class_scores_find(<uint8_t *>message.data, message.size, &asked.scores, &scores)
    if found == MW_OUTPUT_FOUND:
        if step == MW_STEP_ROUND:
            mw_class_scores_round(&scores, DIGITS)
        else:
            mw_class_scores_top(&scores)
        if first_label and scores.rows == 1:
            mw_class_scores_say(&scores, 0, first_label - 1)
    return found != MW_OUTPUT_UNREADABLE
