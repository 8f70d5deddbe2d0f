"""Inputs that a version is not run with any more, because a process died of them."""
from libc.stdint cimport int64_t, uint32_t

from modelward_native.backend.engine cimport Engine, engine_of
from modelward_native.backend.inputs cimport dims_of
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model


cdef bint contained(const Exchange *x, const Model *m) noexcept:
    cdef Engine engine = engine_of(m)
    cdef uint32_t i
    if engine.contained_wholly:
        return True
    for i in range(engine.contained_count):
        if engine.contained[i].of_caller and engine.contained[i].caller != x.payers.identity:
            continue
        if not engine.contained[i].of_shape or matches(x, engine, engine.contained_dim + i * engine.contained_dims):
            return True
    return False


cdef bint matches(const Exchange *x, Engine engine, const int64_t *shape) noexcept:
    """Where requests may share a run, -1 stands for any number of rows but 0."""
    cdef const int64_t *d
    cdef size_t at = 0
    cdef uint32_t i, k, n = 0
    for i in range(engine.input_count):
        d = dims_of(x, i, at)
        at += engine.input[i].rank
        for k in range(engine.input[i].rank):
            if n == engine.contained_dims:
                return True       # the note had no room for more
            if d[k] != shape[n] and not (k == 0 and shape[n] < 0 < d[k]):
                return False
            n += 1
    return True
