# What a model does about suspected identities (models.M.detection), and for which identities it differs.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum NearDuplicates:         # what rows near earlier ones do
    NEAR_RESTRICT = 0             # they are evidence as all else is
    NEAR_ROUND                    # they lead to rounded scores at most
    NEAR_ALLOW                    # they are no evidence

cdef struct Policy:
    bint watches                  # evidence is gathered, and a step that an operator has set is taken
    bint acts                     # steps are taken without a person, up to the strongest
    bint labelled                 # the client is told
    uint8_t strongest             # enum mw_step (detect/suspicion.h)
    uint8_t near_duplicates       # enum NearDuplicates
    double budget                 # distinct rows of a day and identity; 0: none
    int64_t delay                 # ns; the longest
    int64_t block                 # ns; the first time that an identity is blocked
    uint64_t patterns             # those of the configuration that this is for, as bits; of the first policy 0: it is for all

cdef class Policies:
    cdef Policy *policy           # owned; the first is for all, those behind it for some, the most specific first
    cdef readonly uint32_t count


cdef inline const Policy *policy_for(const Policy *policy, uint32_t count, uint64_t patterns) noexcept:
    """Of a caller that these patterns fit; NULL where it is not watched."""
    cdef uint32_t i
    if patterns:
        for i in range(1, count):
            if policy[i].patterns & patterns:
                return &policy[i] if policy[i].watches else NULL
    return policy if count and policy.watches else NULL
