"""Where the tensors of observed requests lie in their bytes: found in one walk over each, for a whole batch at a time."""
from libc.stdint cimport int64_t, uint32_t, uint8_t

from modelward_native.outputs.class_scores cimport mw_declared_output
from modelward_native.request.oip cimport mw_scan
from modelward_native.request.tensor cimport MW_MAX_TENSORS, mw_dtype_of, mw_span

cdef extern from "tensor_places.h" nogil:
    enum:
        MW_PLACE_NONE
        MW_PLACE_OTHERWISE

    ctypedef struct mw_tensor_place:
        int64_t begin
        int64_t width
        int64_t size

    void mw_place_inputs(mw_span message, const mw_declared_output *, uint32_t n, int batched, int64_t rows, mw_tensor_place *)
    void mw_place_outputs(
        mw_span message, const mw_declared_output *, uint32_t count, int batched, int64_t rows, mw_scan *, mw_tensor_place *)

NONE, OTHERWISE = <int>MW_PLACE_NONE, <int>MW_PLACE_OTHERWISE

# The struct as numpy takes it.
PLACE = (("begin", "i8"), ("width", "i8"), ("size", "i8"))

cdef mw_scan SCAN                 # 90 KB; used while the interpreter's lock is held


cdef mw_span span_of(bytes text) noexcept:
    cdef mw_span span
    span.data = <const uint8_t *><const char *>text
    span.size = len(text)
    return span


cdef class Places:
    """tensors: (name, datatype) of each, inputs or outputs; at most 256, or ValueError is raised. batched: the first
    dimension is the row; else a request is one row of all elements."""
    cdef list names
    cdef uint32_t count
    cdef bint outputs, batched
    cdef mw_declared_output[<int>MW_MAX_TENSORS] declared

    def __init__(self, tensors, *, bint outputs, bint batched):
        cdef bytes datatype
        cdef uint32_t i
        if len(tensors) > MW_MAX_TENSORS:
            raise ValueError(f"{len(tensors)} tensors; there may be {<int>MW_MAX_TENSORS}")
        self.names = [name.encode() for name, _ in tensors]
        self.count, self.outputs, self.batched = <uint32_t>len(tensors), outputs, batched
        for i in range(self.count):
            datatype = tensors[i][1].encode()
            self.declared[i].name = span_of(self.names[i])
            self.declared[i].dtype = mw_dtype_of(span_of(datatype))

    def find(self, tuple messages not None, const int64_t[::1] rows not None) -> bytearray:
        """PLACE of each tensor of each message; `begin` counts from the first byte of all messages joined.

        rows: of each message's request. A tensor that has not as many is NONE.
        """
        cdef bytearray made = bytearray(len(messages) * self.count * sizeof(mw_tensor_place))
        cdef mw_tensor_place *to = <mw_tensor_place *><char *>made
        cdef bytes message
        cdef int64_t before = 0
        cdef Py_ssize_t i
        cdef uint32_t k
        if rows.shape[0] != len(messages):
            raise ValueError("each message has its rows")
        for i in range(len(messages)):
            message = messages[i]
            if self.outputs:
                mw_place_outputs(span_of(message), self.declared, self.count, self.batched, rows[i], &SCAN, to)
            else:
                mw_place_inputs(span_of(message), self.declared, self.count, self.batched, rows[i], to)
            for k in range(self.count):
                if to[k].begin >= 0:
                    to[k].begin += before
            to += self.count
            before += len(message)
        return made
