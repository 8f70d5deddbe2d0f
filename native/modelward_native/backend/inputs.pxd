# Tensors of requests on their way into a run.
from libc.stdint cimport int64_t, uint32_t

from modelward_native.backend.engine cimport Engine
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.tensor cimport mw_view

# Those of the requests in the slots, one after the other; False for want of memory.
cdef bint gather(Engine engine) noexcept
# Bytes that the run may hold: as its inputs' justify, or as its rows were found to need.
cdef int64_t memory_budget(Engine engine) noexcept

# Which of its tensors each input of the model that runs is; NULL where that model is the one it asked for.
cdef inline const uint32_t *order_of(const Exchange *x) noexcept:
    return x.asked.fallbacks[x.tried - 1].inputs if x.model != x.asked else NULL

# Dimensions of input i of the model that runs; at: where they are if that is the model asked for.
cdef inline const int64_t *dims_of(const Exchange *x, uint32_t i, size_t at) noexcept:
    cdef const uint32_t *order = order_of(x)
    cdef uint32_t k
    if order != NULL:
        at = 0
        for k in range(order[i]):
            at += x.asked.inputs[k].rank
    return x.dims + at

cdef inline mw_view *view_of(Exchange *x, uint32_t i) noexcept:
    cdef const uint32_t *order = order_of(x)
    return &x.view[i if order == NULL else order[i]]
