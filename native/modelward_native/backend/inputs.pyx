"""Tensors of requests on their way into a run."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from modelward_native.backend.note cimport MW_NOTE_CALLERS, mw_note
from modelward_native.backend.run cimport mw_run_input, mw_run_reserve
from modelward_native.request.tensor cimport MW_BYTES, mw_span, mw_view

cdef enum:
    RUN_LEAST = 16 << 20          # bytes that any run may hold
    RUN_PER_BYTE = 16 << 10       # and for each byte of its inputs: attention over tokens takes as much


cdef size_t list_elements(mw_span raw, mw_span *to) noexcept:
    """The elements of a raw BYTES tensor, which request/validate has found well-formed."""
    cdef size_t at = 0, n = 0
    cdef uint32_t length
    while at + 4 <= raw.size:
        memcpy(&length, raw.data + at, 4)
        to[n].data = raw.data + at + 4
        to[n].size = length
        at += 4 + length
        n += 1
    return n


cdef void name_callers(Engine engine, mw_note *note) noexcept:
    """Whose requests the run is for, should the process die of it."""
    cdef uint64_t caller
    cdef uint32_t k, n = 0
    for k in range(engine.slot_count):
        caller = engine.slots[k].exchange.payers.identity
        if n and note.caller[n - 1] == caller:
            continue
        if n == <uint32_t>MW_NOTE_CALLERS:
            n += 1                # only that there are more
            break
        note.caller[n] = caller
        n += 1
    note.callers = n
    note.any_rows = engine.batchable


cdef bint gather(Engine engine) noexcept:
    cdef uint32_t i, k
    cdef size_t size, elements, at = 0
    cdef mw_run_input *to
    cdef mw_view *view
    if engine.note != NULL:
        name_callers(engine, engine.note)
    for i in range(engine.input_count):
        size = 0
        elements = 0
        for k in range(engine.slot_count):
            view = view_of(engine.slots[k].exchange, i)
            if engine.input[i].dtype == MW_BYTES:
                elements += view.elements
            else:
                size += view.raw.size
            engine.run_bytes += view.raw.size
        if mw_run_reserve(&engine.run, i, size, elements) < 0:
            return False
        to = &engine.run.in_[i]
        memcpy(to.shape, dims_of(engine.slots[0].exchange, i, at), engine.input[i].rank * sizeof(int64_t))
        if engine.has_batch_axis:
            to.shape[0] = engine.run_rows
        size = 0
        elements = 0
        for k in range(engine.slot_count):
            view = view_of(engine.slots[k].exchange, i)
            if engine.input[i].dtype == MW_BYTES:
                elements += list_elements(view.raw, to.element + elements)
            elif view.raw.size:   # a tensor of no elements may point nowhere
                memcpy(to.data + size, view.raw.data, view.raw.size)
                size += view.raw.size
        at += engine.input[i].rank
    return True


cdef int64_t memory_budget(Engine engine) noexcept:
    cdef double bytes = RUN_LEAST + <double>RUN_PER_BYTE * engine.run_bytes + <double>engine.row_memory * engine.run_rows
    cdef int64_t most = max(engine.memory, engine.row_memory)
    return most if bytes >= most else <int64_t>bytes
