# The guards of a version's outputs, and an answer held against them.
from libc.stdint cimport int64_t, uint8_t

from modelward_native.outputs.class_scores cimport MW_FIND_OUTPUTS, mw_found_output
from modelward_native.outputs.guard cimport GuardedOutputs, GuardFinding, mw_caller_shares, mw_guard_block
from modelward_native.region.region cimport Region
from modelward_native.request.exchange cimport Exchange

cdef class OutputGuards:
    cdef GuardedOutputs guarded
    cdef mw_guard_block *own      # owned: one for each output
    cdef mw_caller_shares *shares[MW_FIND_OUTPUTS]  # owned, used until those of the region are; NULL where no budget has `each`
    cdef list names
    cdef bytes version            # with the configuration: whose means are remembered
    cdef int attach(self, Region region, bytes model) except -1

# The guarded outputs of a ModelInferResponse, g.count of them; borrowed until the next call. NULL where it is malformed.
cdef const mw_found_output *find_guarded(const GuardedOutputs *g, uint8_t *message, size_t size) noexcept
# A ModelInferResponse, changed where it lies as far as guards clip it. found: what find_guarded has found in it last; NULL: it
# was not called. given: it is on its way to a client; else nothing is counted.
cdef void check_answer(GuardedOutputs *g, const mw_found_output *found, const Exchange *x, uint8_t *message, size_t size,
                       bint given, int64_t now, GuardFinding *finding) noexcept
