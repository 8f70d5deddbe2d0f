"""Numpy arrays into a run and out of it: warm-up, probes, canaries."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from modelward_native.backend.engine cimport Engine
from modelward_native.backend.plain cimport put
from modelward_native.backend.run cimport mw_run, mw_run_output
from modelward_native.request.tensor cimport MW_BYTES, mw_dtype_size

# names of numpy's types; BF16 has none: its bits
NUMPY = {"BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
         "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "BF16": "uint16", "FP32": "float32",
         "FP64": "float64"}


class Numpy:
    """numpy, which is imported when something of it is used first: a server without models of its own never does."""

    def __getattr__(self, name):
        global np
        import numpy as np
        return getattr(np, name)


np = Numpy()


cdef list fill(Engine engine, mw_run *run, dict inputs, uint64_t *size, int64_t *rows):
    cdef size_t nbytes
    cdef uint32_t i
    held = []
    size[0] = 0
    rows[0] = 1
    for i, (name, datatype, _) in enumerate(engine.inputs):
        array = np.asarray(inputs[name])
        if array.ndim != engine.input[i].rank:
            raise ValueError(f"input '{name}' has {array.ndim} dimensions, not {engine.input[i].rank}")
        items = [bytes(v) for v in array.ravel().tolist()] if datatype == "BYTES" else []
        nbytes = 0 if datatype == "BYTES" else array.nbytes
        if datatype != "BYTES" and nbytes != array.size * mw_dtype_size(engine.input[i].dtype):
            raise ValueError(f"input '{name}' is {array.dtype}, not {datatype}")
        held.append(items)
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8) if nbytes else b""
        put(engine, run, i, array.shape, raw, items, size, rows)
    return held


cdef dict answer_of(Engine engine, mw_run *run):
    if run.failed:
        raise ValueError(run.error.decode("utf-8", "replace"))
    return {name: output_array(&run.out[i], datatype) for i, (name, datatype, _) in enumerate(engine.outputs)}


cdef uint64_t output_bytes(Engine engine, const mw_run *run) noexcept:
    cdef const mw_run_output *out
    cdef uint64_t total = 0
    cdef uint32_t i
    for i in range(engine.output_count):
        out = &run.out[i]
        total += out.offset[out.elements] + 4 * out.elements if engine.output[i].dtype == MW_BYTES else out.size
    return total


cdef object output_array(const mw_run_output *out, str datatype):
    shape = tuple(out.shape[k] for k in range(out.rank))
    if datatype == "BYTES":
        items = np.empty(out.elements, dtype=object)
        for k in range(out.elements):
            items[k] = out.text[out.offset[k]:out.offset[k + 1]]
        return items.reshape(shape)
    array = np.empty(shape, NUMPY[datatype])
    cdef uint8_t[::1] to
    if out.size:
        to = array.reshape(-1).view(np.uint8)
        with nogil:
            memcpy(&to[0], out.data, out.size)
    return array
