# Numpy arrays into a run and out of it.
from libc.stdint cimport int64_t, uint64_t

from modelward_native.backend.engine cimport Engine
from modelward_native.backend.run cimport mw_run

# inputs: arrays by name. Returns what must live until the run has ended. size: bytes of all of them.
cdef list fill(Engine engine, mw_run *run, dict inputs, uint64_t *size, int64_t *rows)
# Arrays by output name. Raises ValueError with ONNX Runtime's words where the run has failed.
cdef dict answer_of(Engine engine, mw_run *run)
# Of the run's outputs as an answer has them.
cdef uint64_t output_bytes(Engine engine, const mw_run *run) noexcept
