"""The inputs and outputs of a model: as its session declares them, or as its upstreams tell them."""
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy

from modelward_native.backend.session cimport mw_declared
from modelward_native.request.model cimport Tensor
from modelward_native.request.tensor cimport (
    MW_INVALID, MW_MAX_RANK, mw_dtype_name, mw_dtype_of, mw_span)

cdef extern from "ort.h":
    enum:
        ORT_TYPE_TENSOR


cdef int declare_tensors(const mw_declared *declared, uint32_t count, Tensor **out) except -1:
    cdef Tensor *tensors = <Tensor *>calloc(count + 1, sizeof(Tensor))
    cdef uint32_t i
    if tensors == NULL:
        raise MemoryError
    out[0] = tensors
    for i in range(count):
        tensors[i].name.data = <const uint8_t *>declared[i].name    # the session's
        tensors[i].name.size = len(declared[i].name)
        tensors[i].dtype = declared[i].dtype
        tensors[i].rank = declared[i].rank
        memcpy(tensors[i].shape, declared[i].shape, sizeof(tensors[i].shape))
        if declared[i].onnx_type != ORT_TYPE_TENSOR or declared[i].dtype == MW_INVALID:
            raise ValueError(f"'{declared[i].name.decode()}' is not a tensor of a datatype that the protocol has")
    return 0


cdef int declare_specs(list keep, specs, Tensor **out) except -1:
    cdef Tensor *tensors = <Tensor *>calloc(len(specs) + 1, sizeof(Tensor))
    cdef uint32_t i, k
    cdef bytes datatype
    if tensors == NULL:
        raise MemoryError
    out[0] = tensors
    for i, (name, text, shape) in enumerate(specs):
        datatype = text.encode()
        tensors[i].name = keep_text(keep, name)
        tensors[i].dtype = mw_dtype_of(mw_span(<const uint8_t *>PyBytes_AS_STRING(datatype), len(datatype)))
        if tensors[i].dtype == MW_INVALID or len(shape) > MW_MAX_RANK:
            raise ValueError(f"'{name}' has datatype {text} and {len(shape)} dimensions, which the protocol does not")
        tensors[i].rank = <uint32_t>len(shape)
        for k in range(tensors[i].rank):
            tensors[i].shape[k] = shape[k]
    return 0


cdef bint has_batch_axis(const Tensor *inputs, uint32_t ins, const Tensor *outputs, uint32_t outs) noexcept:
    cdef uint32_t i
    for i in range(ins):
        if inputs[i].rank == 0 or inputs[i].shape[0] >= 0:
            return False
    for i in range(outs):
        if outputs[i].rank == 0 or outputs[i].shape[0] >= 0:
            return False
    return ins > 0


cdef bint grows_within_rows(const Tensor *inputs, uint32_t count) noexcept:
    cdef uint32_t i, k
    for i in range(count):
        for k in range(1, inputs[i].rank):
            if inputs[i].shape[k] < 0:
                return True
    return False


cdef mw_span keep_text(list keep, str text) except *:
    cdef bytes data = text.encode()
    cdef mw_span s
    keep.append(data)
    s.data = <const uint8_t *>PyBytes_AS_STRING(data)
    s.size = len(data)
    return s


cdef list specs_of(const Tensor *tensors, uint32_t count):
    return [(tensors[i].name.data[:tensors[i].name.size].decode(), mw_dtype_name(tensors[i].dtype).decode(),
             tuple(tensors[i].shape[k] for k in range(tensors[i].rank))) for i in range(count)]
