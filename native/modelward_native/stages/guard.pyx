"""At completion: what the model said is held against the guards of its outputs. What may not be given out, a fallback answers."""
from libc.stdint cimport int64_t, uint8_t

from modelward_native.outputs.guard cimport MW_ACT_FALLBACK, GuardFinding
from modelward_native.outputs.guards cimport check_answer
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.parameter cimport add_guards
from modelward_native.request.state cimport State
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport REASON_OUT_OF_MEMORY, REASON_OUTPUT_BUDGET, REASON_OUTPUT_GUARD
from modelward_native.shadow.mirror cimport message_of
from modelward_native.stages.stage cimport Result, withhold


cdef bint guard(State server, Exchange *x, Result *r, int64_t now) noexcept:
    """Also the answer to a cross-check: it speaks against another version only where it would have been given out."""
    cdef GuardFinding finding
    cdef mw_span message
    if r.answer == NULL or x.asked == NULL or x.asked.guarded == NULL or (x.mirrors != NULL and x.shadow_link != NULL):
        return True
    message = message_of(x, r.answer)
    check_answer(x.asked.guarded, r.found, x if x.mirrors == NULL else x.mirrors, <uint8_t *>message.data, message.size,
                 x.mirrors == NULL, now, &finding)
    r.found = NULL                # what is added to the answer moves it
    x.faulty = x.faulty or finding.faulty
    if x.mirrors != NULL:
        if finding.faulty:
            withhold(x, r, REASON_OUTPUT_GUARD)
    elif finding.action == <int>MW_ACT_FALLBACK:
        withhold(x, r, REASON_OUTPUT_BUDGET if finding.over_budget else REASON_OUTPUT_GUARD)
    elif finding.told:
        x.ending.guards = finding.told
        if not add_guards(x, r.answer, finding.told):
            withhold(x, r, REASON_OUT_OF_MEMORY)
    return True
