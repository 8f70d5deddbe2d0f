# Declarations of modelward_native/outputs/guard.h, budget.h and mean.h, which say what each means; and the guarded outputs of a
# version. Structs alone: nearly every module cimports this, and imports nothing by it.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.limits.limit cimport mw_gcra, mw_rate
from modelward_native.outputs.class_scores cimport MW_FIND_OUTPUTS, mw_declared_output, mw_found_output
from modelward_native.request.tensor cimport mw_dtype, mw_view

cdef extern from "guard.h" nogil:
    ctypedef enum mw_guard_kind:
        MW_GUARD_READABLE
        MW_GUARD_FINITE
        MW_GUARD_RANGE
        MW_GUARD_SUM
        MW_GUARD_NOT_ABOVE
        MW_GUARD_NOT_BELOW
        MW_GUARD_RISES_WITH
        MW_GUARD_FALLS_WITH
        MW_GUARD_MEAN
        MW_GUARD_BUDGET
        MW_GUARDS

    ctypedef enum mw_guard_action:
        MW_ACT_NONE
        MW_ACT_OBSERVE
        MW_ACT_FLAG
        MW_ACT_CLIP
        MW_ACT_FALLBACK
        MW_ACTIONS

    enum:
        MW_GUARD_LIMITS
        MW_GUARD_BUDGETS
        MW_GUARD_VERSIONS

    ctypedef struct mw_guard_limit:
        uint8_t kind
        uint8_t of_input
        uint32_t index
        int32_t column

    ctypedef struct mw_mean:
        int64_t window
        uint64_t rows
        double change
        double threshold
        uint32_t column

    ctypedef struct mw_mean_state:
        uint64_t version
        int64_t used
        uint64_t alarmed
        double last
        double expected

    ctypedef struct mw_budget:
        uint8_t of
        int64_t label
        double above
        uint64_t at_most
        double unit
        double share
        int64_t part
        mw_rate each
        uint64_t identity

    ctypedef struct mw_budget_state:
        uint64_t identity
        uint64_t at_most
        double share
        int64_t part

    ctypedef struct mw_guard:
        uint8_t action[MW_GUARDS]
        uint8_t batch
        uint8_t classes
        uint8_t logits
        double low
        double high
        double sum
        double tolerance
        uint32_t limits
        uint32_t budgets
        mw_guard_limit limit[MW_GUARD_LIMITS]
        mw_mean mean
        mw_budget budget[MW_GUARD_BUDGETS]

    ctypedef struct mw_guard_block:
        uint64_t answers[MW_GUARDS][MW_ACTIONS]
        mw_budget_state budget[MW_GUARD_BUDGETS]
        mw_mean_state mean[MW_GUARD_VERSIONS]

    uint64_t MW_NO_ELEMENT

    ctypedef struct mw_guard_example:
        uint64_t element
        double value
        double other

    ctypedef struct mw_guard_rows:
        uint64_t rows
        uint64_t columns

    mw_guard_rows mw_guard_rows_of(const mw_guard *, const mw_found_output *)
    uint32_t mw_guard_check(const mw_guard *, mw_dtype, const mw_found_output *, mw_guard_example *)
    int mw_guard_keeps(
        const mw_guard *, const mw_guard_limit *, mw_dtype, const mw_found_output *, const mw_view *other, int mend,
        mw_guard_example *)
    int mw_guard_follows(
        const mw_guard *, const mw_guard_limit *, mw_dtype, const mw_found_output *, const mw_view *inputs, uint32_t count,
        mw_guard_example *)
    int mw_guard_clip(const mw_guard *, mw_dtype, const mw_found_output *)
    uint64_t mw_guard_amount(const mw_guard *, const mw_budget *, mw_dtype, const mw_found_output *)
    uint64_t mw_guard_total(const mw_guard *, mw_dtype, const mw_found_output *, double *sum)
    double mw_guard_bound(double bound, mw_dtype, int is_high)
    int mw_mean_add(const mw_mean *, mw_mean_state *, double sum, uint64_t rows, int64_t now)
    double mw_budget_used(const mw_budget_state *, int64_t now)
    int mw_budget_take(const mw_budget *, mw_budget_state *, uint64_t amount, uint64_t rows, int refuse, int64_t now)
    void mw_budget_give_back(const mw_budget *, mw_budget_state *, uint64_t amount, uint64_t rows, int64_t now)

cdef extern from "caller_share.h" nogil:
    ctypedef struct mw_caller_shares:
        pass

    void mw_caller_shares_open(mw_gcra *table, mw_caller_shares *)
    int mw_caller_take(mw_gcra *table, const mw_budget *, uint64_t caller, uint64_t amount, int64_t now)
    void mw_caller_give_back(mw_gcra *table, const mw_budget *, uint64_t caller, uint64_t amount, int64_t now)

cdef struct GuardEvent:           # answers since the control plane asked last, and the first of them
    uint64_t answers
    uint64_t row                  # MW_NO_ELEMENT: of none
    double value
    double other                  # as in mw_guard_example
    char id[64]                   # the request's, cut

cdef struct GuardedOutputs:       # owned by an OutputGuards
    uint32_t count
    mw_declared_output declared[MW_FIND_OUTPUTS]    # their names are borrowed from the Engine
    uint32_t output[MW_FIND_OUTPUTS]                # which of the model's
    mw_guard guard[MW_FIND_OUTPUTS]
    mw_guard_block *block[MW_FIND_OUTPUTS]          # borrowed from the region, or `own` before and without it
    mw_mean_state *mean[MW_FIND_OUTPUTS]            # in the block
    mw_gcra share[MW_FIND_OUTPUTS]                  # over shares that are borrowed likewise; unused where no budget has `each`
    GuardEvent event[MW_FIND_OUTPUTS][MW_GUARDS]

cdef struct GuardFinding:         # of one answer
    int action                    # enum mw_guard_action: the strongest that is taken
    uint32_t told                 # bits 1 << kind of what the client is told
    bint faulty                   # it is not as it should be, whatever comes of that; budgets and means say nothing of one answer
    bint over_budget              # that alone is why it is not given out
