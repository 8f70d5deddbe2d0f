"""Tensors without numpy into a run and out of it: a model's first runs."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import math
from collections import namedtuple

from modelward_native.backend.engine cimport Engine
from modelward_native.backend.run cimport mw_run, mw_run_input, mw_run_output, mw_run_reserve
from modelward_native.request.tensor cimport mw_dtype, mw_dtype_of, mw_dtype_size, mw_span

cdef extern from "closeness.h" nogil:
    int mw_are_close(const uint8_t *, const uint8_t *, size_t, mw_dtype, double)

Plain = namedtuple("Plain", ("shape", "data"))
Plain.__doc__ = "A tensor. data: its elements, little-endian, rows first; of BYTES a list of bytes objects."


def are_close(bytes a not None, bytes b not None, str datatype not None, double tolerance) -> bool:
    """Whether tensors of a floating-point datatype hold the same, but for rounding: see closeness.h."""
    cdef bytes name = datatype.encode()
    cdef mw_dtype dtype = mw_dtype_of(mw_span(<const uint8_t *>PyBytes_AS_STRING(name), len(name)))
    cdef size_t size = mw_dtype_size(dtype)
    if datatype not in {"FP16", "BF16", "FP32", "FP64"} or len(a) % size:
        raise ValueError(f"these are no numbers of {datatype}")
    return len(a) == len(b) and mw_are_close(<const uint8_t *>PyBytes_AS_STRING(a), <const uint8_t *>PyBytes_AS_STRING(b),
                                             len(a) // size, dtype, tolerance)


cdef int put(Engine engine, mw_run *run, uint32_t i, tuple shape, const uint8_t[::1] raw, list items, uint64_t *size,
             int64_t *rows) except -1:
    cdef mw_run_input *to
    cdef size_t nbytes = raw.shape[0]
    if mw_run_reserve(run, i, nbytes, len(items)) < 0:
        raise MemoryError
    to = &run.in_[i]
    if nbytes:
        with nogil:               # megabytes must not hold the loop
            memcpy(to.data, &raw[0], nbytes)
    for k, item in enumerate(items):
        to.element[k].data = <const uint8_t *>PyBytes_AS_STRING(item)
        to.element[k].size = len(item)
    for k, length in enumerate(shape):
        to.shape[k] = length
    size[0] += nbytes + sum(4 + len(item) for item in items)
    if engine.has_batch_axis:
        rows[0] = shape[0]
    return 0


cdef list fill_plain(Engine engine, mw_run *run, dict inputs, uint64_t *size, int64_t *rows):
    cdef uint32_t i
    held = []
    size[0] = 0
    rows[0] = 1
    for i, (name, datatype, _) in enumerate(engine.inputs):
        shape, data = inputs[name]
        if len(shape) != <Py_ssize_t>engine.input[i].rank:
            raise ValueError(f"input '{name}' has {len(shape)} dimensions, not {engine.input[i].rank}")
        items = [bytes(item) for item in data] if datatype == "BYTES" else []
        raw = b"" if datatype == "BYTES" else data
        each = 1 if datatype == "BYTES" else mw_dtype_size(engine.input[i].dtype)
        held.append(items)
        if min(shape, default=0) < 0 or len(raw) + len(items) != math.prod(shape) * each:
            raise ValueError(f"input '{name}' does not have the elements of its shape")
        put(engine, run, i, shape, raw, items, size, rows)
    return held


cdef dict plain_answer_of(Engine engine, mw_run *run):
    if run.failed:
        raise ValueError(run.error.decode("utf-8", "replace"))
    return {name: plain_output(&run.out[i], datatype) for i, (name, datatype, _) in enumerate(engine.outputs)}


cdef object plain_output(const mw_run_output *out, str datatype):
    shape = tuple(out.shape[k] for k in range(out.rank))
    if datatype == "BYTES":
        return Plain(shape, [out.text[out.offset[k]:out.offset[k + 1]] for k in range(out.elements)])
    cdef bytes data = PyBytes_FromStringAndSize(NULL, out.size)
    cdef uint8_t *to = <uint8_t *>PyBytes_AS_STRING(data)
    with nogil:
        memcpy(to, out.data, out.size)
    return Plain(shape, data)
