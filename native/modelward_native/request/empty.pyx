"""Dimensions of 0: which of a model's it bears."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from modelward_native.backend.inputs cimport dims_of
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model

cdef enum:
    WORDS = 64                    # a bit for each of MW_MAX_RANK dimensions of MW_MAX_TENSORS inputs


cdef bint bears(const Exchange *x, const Model *m, bint asked, uint32_t *input, uint32_t *dim) noexcept:
    cdef uint64_t zeros[<int>WORDS]
    cdef uint32_t i, k, n = 0
    cdef size_t at = 0
    cdef const int64_t *d
    cdef bint found = False
    if m.empties.all:
        return True
    memset(zeros, 0, sizeof(zeros))
    for i in range(m.input_count):
        d = x.dims + at if asked else dims_of(x, i, at)
        at += m.inputs[i].rank
        for k in range(m.inputs[i].rank):
            if m.inputs[i].shape[k] >= 0:
                continue          # the model's own choice
            if d[k] == 0:
                zeros[n // 64] |= <uint64_t>1 << (n % 64)
                if not found:
                    input[0] = i
                    dim[0] = k
                    found = True
            n += 1
    if not found:
        return True
    for i in range(m.empties.count):
        if memcmp(m.empties.sets + i * m.empties.words, zeros, m.empties.words * sizeof(uint64_t)) == 0:
            return True
    return False
