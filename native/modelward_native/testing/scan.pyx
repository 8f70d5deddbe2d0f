"""The scanner and the writer of the Open Inference Protocol for tests, benchmarks and tools.

The server calls the C functions itself; here their results become Python objects, one call at a time.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport SIZE_MAX, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from modelward_native.request.oip cimport *
from modelward_native.request.protobuf cimport MW_HEADER_BYTES, mw_put_header
from modelward_native.request.tensor cimport MW_INVALID, MW_MAX_RANK, MW_MAX_TENSORS, mw_dtype_of, mw_span

cdef mw_scan found  # 90 KB: one for the module, under the GIL
cdef mw_reply_output table[MW_MAX_TENSORS]  # the outputs of the reply being written
cdef int64_t shapes[MW_MAX_TENSORS][MW_MAX_RANK]  # of those

cdef dict FAULTS = {
    MW_SCAN_MALFORMED: "malformed",
    MW_SCAN_TOO_MANY_INPUTS: "too many inputs",
    MW_SCAN_TOO_MANY_OUTPUTS: "too many outputs",
    MW_SCAN_RANK: "too many dimensions",
}


cdef mw_span span_of(bytes b):
    cdef mw_span s
    s.data = <const uint8_t *>PyBytes_AS_STRING(b)
    s.size = PyBytes_GET_SIZE(b)
    return s


cdef mw_span text_span(str text, list alive):
    cdef bytes encoded = text.encode("utf-8")
    alive.append(encoded)
    return span_of(encoded)


cdef bytes bytes_of(mw_span s):
    return PyBytes_FromStringAndSize(<const char *>s.data, s.size) if s.size else b""


cdef str text_of(mw_span s):
    return bytes_of(s).decode("utf-8")


cdef int scan_or_raise(bytes message) except -1:
    cdef mw_scan_status status = mw_oip_scan(span_of(message), &found)
    if status != MW_SCAN_OK:
        raise ValueError(FAULTS[status])
    return 0


cdef dict describe_input(const mw_scan_input *tensor):
    cdef unsigned kind
    return {
        "name": text_of(tensor.name),
        "datatype": text_of(tensor.datatype),
        "shape": [tensor.shape[i] for i in range(tensor.rank)],
        "shared_memory": bool(tensor.shared_memory),
        "has_contents": bool(tensor.has_contents),
        "contents": {
            kind: tensor.contents_count[kind]
            for kind in range(1, <unsigned>MW_CONTENTS_KINDS) if tensor.contents_kinds >> kind & 1
        },
        "contents_bytes": tensor.contents_bytes,
    }


cdef dict describe_output(const mw_scan_output *output):
    return {
        "name": text_of(output.name),
        "shared_memory": bool(output.shared_memory),
        "classification": bool(output.classification),
    }


def scan(bytes message not None):
    scan_or_raise(message)
    return {
        "model_name": text_of(found.model_name),
        "model_version": text_of(found.model_version),
        "id": text_of(found.id),
        "inputs": [describe_input(&found.input[i]) for i in range(found.inputs)],
        "outputs": [describe_output(&found.output[i]) for i in range(found.outputs)],
        "raw": [bytes_of(found.raw[i]) for i in range(found.raws)],
        "timeout_us": found.timeout_us,
        "timeout_invalid": bool(found.timeout_invalid),
        "priority": found.priority,
        "priority_invalid": bool(found.priority_invalid),
        "sequence": bool(found.sequence),
    }


def envelope(bytes message not None):
    if not mw_oip_scan_envelope(span_of(message), &found):
        raise ValueError(FAULTS[MW_SCAN_MALFORMED])
    if found.inputs or found.outputs or found.raws:
        raise AssertionError("an envelope has no tensors")
    return {
        "model_name": text_of(found.model_name),
        "model_version": text_of(found.model_version),
        "id": text_of(found.id),
        "timeout_us": found.timeout_us,
    }


def model_name(bytes message not None):
    cdef mw_span name, version
    if not mw_oip_names(span_of(message), &name, &version):
        raise ValueError(FAULTS[MW_SCAN_MALFORMED])
    return text_of(name)


def contents(bytes message not None, unsigned index, str datatype not None):
    scan_or_raise(message)
    if index >= found.inputs:
        raise IndexError(index)
    cdef bytes name = datatype.encode("utf-8")  # a span keeps nothing alive
    cdef mw_dtype dtype = mw_dtype_of(span_of(name))
    if not mw_oip_contents_kind(dtype):
        raise ValueError("no typed form")
    cdef size_t size = mw_oip_contents_size(&found.input[index], dtype)
    if size == SIZE_MAX:
        raise OverflowError(datatype)
    cdef bytes raw = PyBytes_FromStringAndSize(NULL, size)
    if mw_oip_contents(&found.input[index], dtype, <uint8_t *>PyBytes_AS_STRING(raw), size) != 0:
        raise ValueError("a value does not fit the datatype")
    return raw


def bytes_valid(bytes raw not None, int64_t elements):
    return mw_oip_bytes_valid(span_of(raw), elements) == 1


def elements(shape not None):
    cdef int64_t dimensions[MW_MAX_RANK]
    cdef uint32_t rank = 0
    for dimension in shape:
        if rank == MW_MAX_RANK:
            raise ValueError(FAULTS[MW_SCAN_RANK])
        dimensions[rank] = dimension
        rank += 1
    return mw_oip_elements(dimensions, rank)


def scan_repeatedly(bytes message not None, unsigned repeats):
    cdef mw_span span = span_of(message)
    cdef mw_scan_status status = mw_oip_scan(span, &found)
    for _ in range(1, repeats):
        status = mw_oip_scan(span, &found)
    if status != MW_SCAN_OK:
        raise ValueError(FAULTS[status])


cdef uint32_t fill_outputs(list wanted, list alive, bint gather) except? 0:
    """Points the table at the wanted outputs; what it points at lives in alive."""
    cdef uint32_t i = 0
    if len(wanted) > MW_MAX_TENSORS:
        raise ValueError(FAULTS[MW_SCAN_TOO_MANY_OUTPUTS])
    for name, datatype, shape, raw in wanted:
        if len(shape) > MW_MAX_RANK:
            raise ValueError(FAULTS[MW_SCAN_RANK])
        table[i].name = text_span(name, alive)
        table[i].dtype = mw_dtype_of(text_span(datatype, alive))
        if table[i].dtype == MW_INVALID:
            raise ValueError(datatype)
        for axis, dimension in enumerate(shape):
            shapes[i][axis] = dimension
        table[i].rank = len(shape)
        table[i].shape = shapes[i]
        table[i].rows = -1
        table[i].raw = span_of(raw)
        if gather:
            table[i].raw.data = NULL
        i += 1
    return i


def stream_response(bytes message not None):
    """The ModelInferResponse in a message of a stream; b"" where there is none, None where it cannot be told."""
    cdef mw_span response
    if not mw_oip_stream_response(span_of(message), &response):
        return None
    return response.data[:response.size] if response.size else b""


def reply(
    str model_name="", str model_version="", str id="", *, outputs=None, str fallback="", str fallback_source="",
    str restricted="", anomaly_score=None, anomaly=None, bint final_response=False, bint gather=False, bint stream=False,
    unsigned repeats=1,
):
    cdef list alive = [], wanted = list(outputs or ())
    cdef mw_reply r
    r.model_name = text_span(model_name, alive)
    r.model_version = text_span(model_version, alive)
    r.id = text_span(id, alive)
    r.fallback = text_span(fallback, alive)
    r.fallback_source = text_span(fallback_source, alive)
    r.restricted = text_span(restricted, alive)
    r.has_anomaly_score = anomaly_score is not None
    r.anomaly_score = anomaly_score if anomaly_score is not None else 0.0
    r.has_anomaly = anomaly is not None
    r.anomaly = bool(anomaly)
    r.final_response = final_response
    r.outputs = fill_outputs(wanted, alive, gather)
    r.output = table

    cdef uint8_t prefix[MW_HEADER_BYTES]
    cdef uint8_t *where[MW_MAX_TENSORS]
    cdef size_t size = mw_oip_reply_size(&r)
    cdef size_t before = mw_put_header(prefix, 2, size) - prefix if stream else 0
    cdef bytes message = PyBytes_FromStringAndSize(NULL, before + size)
    cdef uint8_t *to = <uint8_t *>PyBytes_AS_STRING(message)
    memcpy(to, prefix, before)
    cdef size_t written = 0
    for _ in range(repeats):
        size = mw_oip_reply_size(&r)
        written = mw_oip_reply_write(&r, to + before, where)
    if written != size:
        raise AssertionError(f"{size} bytes promised, {written} written")
    if gather:
        for i in range(r.outputs):
            raw = wanted[i][3]
            memcpy(where[i], PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw))
    return message
