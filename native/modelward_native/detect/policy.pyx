"""Policies of one model, one for all identities and others for some, as plain memory that the data plane reads."""
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free

from modelward_native.detect.suspicion import STEPS

MODES = ("off", "observe", "act")
NEAR_DUPLICATES = ("restrict", "round", "allow")
MOST_PATTERNS = 64


cdef class Policies:
    """Never changed once they are made.

    policies: (number of the pattern of identities that it is for, or None for all; mode, strongest step, labelled, budget or
    None, near duplicates, longest delay in ns, first block in ns). The one for all comes first, of the others the most specific.
    """

    def __cinit__(self, list policies not None):
        cdef uint32_t i
        cdef Policy *p
        assert policies and policies[0][0] is None, "the first policy is for all"
        self.count = <uint32_t>len(policies)
        self.policy = <Policy *>calloc(self.count, sizeof(Policy))
        if self.policy == NULL:
            raise MemoryError
        for i, (pattern, mode, strongest, labelled, budget, near, delay, block) in enumerate(policies):
            p = &self.policy[i]
            if i:
                if not 0 <= pattern < MOST_PATTERNS:
                    raise ValueError(f"pattern {pattern}; there may be {MOST_PATTERNS}")
                p.patterns = 1 << pattern
            p.watches = MODES.index(mode) > 0
            p.acts = mode == "act"
            p.strongest = STEPS.index(strongest)
            p.labelled = labelled
            p.budget = budget or 0
            p.near_duplicates = NEAR_DUPLICATES.index(near)
            p.delay = delay
            p.block = block

    def __dealloc__(self):
        free(self.policy)
