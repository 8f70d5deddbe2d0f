# Tensors into a run and out of it.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.backend.engine cimport Engine
from modelward_native.backend.run cimport mw_run

# Input i. raw: its elements; of BYTES `items` instead, which must live until the run has ended. size: bytes of all inputs.
cdef int put(Engine engine, mw_run *run, uint32_t i, tuple shape, const uint8_t[::1] raw, list items, uint64_t *size,
             int64_t *rows) except -1
# inputs: Plain by name. Returns what must live until the run has ended.
cdef list fill_plain(Engine engine, mw_run *run, dict inputs, uint64_t *size, int64_t *rows)
# Plain by output name. Raises ValueError with ONNX Runtime's words where the run has failed.
cdef dict plain_answer_of(Engine engine, mw_run *run)
