# At the message: what a suspected or restricted caller gets of the model.
from libc.stdint cimport int64_t

from modelward_native.detect.policy cimport Policy
from modelward_native.detect.suspicion cimport mw_suspect
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, REFUSE

# The step that a policy of a model takes a caller with this record to be at.
cdef unsigned char step_now(const Model *m, const Policy *policy, const mw_suspect *s, int64_t now) noexcept
# The step that it would be at if the policy acted; MW_STEP_OBSERVE where it does.
cdef unsigned char would_step(const Model *m, const Policy *policy, const mw_suspect *s, int64_t now) noexcept
cdef int restrict(State server, Exchange *x, Verdict *v, int64_t now) noexcept
# The verdict on it: refused for so long.
cdef void restricted_for(Verdict *v, int64_t retry_ns) noexcept
