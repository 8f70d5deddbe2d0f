"""A scanned ModelInferRequest held against a model's signature: what passes here may reach ONNX Runtime."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from modelward_native.request.empty cimport bears
from modelward_native.request.exchange cimport INLINE_DIMENSIONS, INLINE_TENSORS, OPAQUE_ANSWER, OPAQUE_SHARED, Exchange
from modelward_native.wire.holding cimport pay_for
from modelward_native.wire.stream cimport grow_beside
from modelward_native.request.message cimport *
from modelward_native.request.model cimport Model, Tensor
from modelward_native.request.tensor cimport (
    MW_BOOL, MW_BYTES, MW_MAX_RANK, MW_MAX_TENSORS, mw_dtype_name, mw_dtype_of, mw_dtype_size, mw_span, mw_view)
from modelward_native.request.verdict cimport (
    REASON_INFLIGHT_BYTES, REASON_INVALID_INPUT, REASON_MALFORMED_MESSAGE, REASON_OUT_OF_MEMORY,
    REASON_UNSUPPORTED_FEATURE, VERDICT_TEXT, Verdict)

cdef enum:
    SHOWN = 64                    # bytes of a client's own name that an error repeats
    LISTED = 320                  # bytes of a list of names in an error
    EMPTY_LEAST = 1024            # elements that a tensor of no elements may have but for its zeros, however short the message

cdef const char *MALFORMED = "the message is not a valid inference.ModelInferRequest"


cdef bint peek_model(mw_span message, mw_span *name) noexcept:
    return mw_oip_model_name(message, name)


cdef bint first_model(mw_span piece, mw_span *name) noexcept:
    return mw_oip_first_model_name(piece, name)


# ---- errors ------------------------------------------------------------------------------------------------

cdef int shown(mw_span s) noexcept:
    """How many bytes of a client's own name an error repeats: whole UTF-8 characters only."""
    cdef size_t n = s.size
    if n > SHOWN:
        n = SHOWN
        while n and (s.data[n] & 0xC0) == 0x80:
            n -= 1
    return <int>n


cdef bint wrong(Verdict *v, int reason) noexcept:
    v.reason = reason
    v.retry_ns = 0
    return False


cdef const char *shape_text(const int64_t *shape, uint32_t rank, char *to) noexcept:
    """[d, d, ...] in at most 16 x 21 + 3 bytes."""
    cdef size_t n = 1
    cdef uint32_t i
    to[0] = 91
    for i in range(rank):
        n += snprintf(to + n, 24, "%s%lld", <const char *>b"" if i == 0 else <const char *>b", ", <long long>shape[i])
    to[n] = 93
    to[n + 1] = 0
    return to


cdef const char *names_text(const Tensor *tensors, uint32_t count, char *to) noexcept:
    """Names separated by commas, cut at LISTED bytes."""
    cdef size_t n = 0
    cdef uint32_t i
    to[0] = 0
    for i in range(count):
        if n + tensors[i].name.size + 8 > LISTED:
            snprintf(to + n, 8, ", ...")
            break
        n += snprintf(to + n, LISTED - n, "%s%.*s", <const char *>b"" if i == 0 else <const char *>b", ",
                      <int>tensors[i].name.size, <const char *>tensors[i].name.data)
    return to


cdef bint scan(mw_span message, mw_scan *found, Verdict *verdict) noexcept:
    cdef int status = mw_oip_scan(message, found)
    if status == MW_SCAN_OK:
        if found.timeout_invalid:
            snprintf(verdict.text, VERDICT_TEXT, "parameter 'timeout' must be a whole number of microseconds, 0 or more")
            return wrong(verdict, REASON_INVALID_INPUT)
        return True
    if status == MW_SCAN_TOO_MANY_INPUTS:
        snprintf(verdict.text, VERDICT_TEXT, "more than %d inputs", <int>MW_MAX_TENSORS)
    elif status == MW_SCAN_TOO_MANY_OUTPUTS:
        snprintf(verdict.text, VERDICT_TEXT, "more than %d requested outputs", <int>MW_MAX_TENSORS)
    elif status == MW_SCAN_RANK:
        snprintf(verdict.text, VERDICT_TEXT, "an input has more than %d dimensions", <int>MW_MAX_RANK)
    else:
        snprintf(verdict.text, VERDICT_TEXT, MALFORMED)
        return wrong(verdict, REASON_MALFORMED_MESSAGE)
    return wrong(verdict, REASON_INVALID_INPUT)


cdef bint outline(mw_span message, mw_scan *found, Verdict *verdict) noexcept:
    if mw_oip_outline(message, found):
        return True
    snprintf(verdict.text, VERDICT_TEXT, MALFORMED)
    return wrong(verdict, REASON_MALFORMED_MESSAGE)


# ---- memory of an exchange's tensors -------------------------------------------------------------------------

cdef bint take_tensors(Exchange *x, unsigned int count, size_t dims) noexcept:
    x.view = x.inline_view
    x.dims = x.inline_dims
    if count > INLINE_TENSORS:
        x.view = <mw_view *>malloc(count * sizeof(mw_view))
    if dims > INLINE_DIMENSIONS:
        x.dims = <int64_t *>malloc(dims * sizeof(int64_t))
    return x.view != NULL and x.dims != NULL


cdef void drop_tensors(Exchange *x) noexcept:
    if x.view != x.inline_view:
        free(x.view)
    if x.dims != x.inline_dims:
        free(x.dims)
    x.view = NULL
    x.dims = NULL


# ---- the request against the signature -----------------------------------------------------------------------

cdef bint bools_valid(mw_span raw) noexcept:
    """Every byte is 0 or 1: any other value in a C++ bool is undefined behaviour in the backend."""
    cdef size_t i
    cdef uint8_t seen = 0
    for i in range(raw.size):
        seen |= raw.data[i]
    return seen <= 1


cdef int find(const Tensor *tensors, uint32_t count, uint32_t hint, mw_span name) noexcept:
    cdef uint32_t i
    if hint < count and tensors[hint].name.size == name.size and memcmp(tensors[hint].name.data, name.data, name.size) == 0:
        return hint
    for i in range(count):
        if tensors[i].name.size == name.size and memcmp(tensors[i].name.data, name.data, name.size) == 0:
            return i
    return -1


cdef bint validate_shape(const mw_scan_input *given, const Tensor *t, int64_t *elements, Verdict *v) noexcept:
    cdef char wanted[400]
    cdef char got[400]
    cdef uint32_t i
    cdef bint fits = given.rank == t.rank
    for i in range(given.rank):
        if given.shape[i] < 0:
            snprintf(v.text, VERDICT_TEXT, "input '%.*s': shape %s has a negative dimension",
                     <int>t.name.size, <const char *>t.name.data, shape_text(given.shape, given.rank, got))
            return wrong(v, REASON_INVALID_INPUT)
        if fits and t.shape[i] >= 0 and given.shape[i] != t.shape[i]:
            fits = False
    if not fits:
        snprintf(v.text, VERDICT_TEXT, "input '%.*s': shape %s does not fit the model's %s",
                 <int>t.name.size, <const char *>t.name.data, shape_text(given.shape, given.rank, got),
                 shape_text(t.shape, t.rank, wanted))
        return wrong(v, REASON_INVALID_INPUT)
    elements[0] = mw_oip_elements(given.shape, given.rank)
    if elements[0] < 0:
        snprintf(v.text, VERDICT_TEXT, "input '%.*s': shape %s overflows",
                 <int>t.name.size, <const char *>t.name.data, shape_text(given.shape, given.rank, got))
        return wrong(v, REASON_INVALID_INPUT)
    return True


cdef bint validate_empty(const mw_scan_input *given, const Tensor *t, size_t bytes, Verdict *v) noexcept:
    """A tensor of no elements: its other dimensions weigh nothing, but what the model makes of them does."""
    cdef char got[400]
    cdef int64_t most = max(<int64_t>bytes, <int64_t>EMPTY_LEAST), product = 1
    cdef uint32_t k
    for k in range(t.rank):
        if t.shape[k] >= 0 or given.shape[k] == 0:
            continue
        if given.shape[k] > most // product:
            snprintf(v.text, VERDICT_TEXT, "input '%.*s': shape %s has no elements; its other dimensions may be %lld in all",
                     <int>t.name.size, <const char *>t.name.data, shape_text(given.shape, given.rank, got), <long long>most)
            return wrong(v, REASON_INVALID_INPUT)
        product *= given.shape[k]
    return True


cdef bint validate_zeros(Exchange *x, const Model *m, Verdict *v) noexcept:
    cdef uint32_t input, dim
    if bears(x, m, True, &input, &dim):
        x.alone = x.rows == 0
        return True
    snprintf(v.text, VERDICT_TEXT, "input '%.*s': the model does not take 0 for dimension %u", <int>m.inputs[input].name.size,
             <const char *>m.inputs[input].name.data, dim)
    return wrong(v, REASON_INVALID_INPUT)


cdef bint validate_raw(const Tensor *t, mw_view *view, Verdict *v) noexcept:
    cdef size_t expected
    if t.dtype == MW_BYTES:
        if mw_oip_bytes_valid(view.raw, view.elements):
            return True
        snprintf(v.text, VERDICT_TEXT, "input '%.*s': raw BYTES data must be %lld elements, each a 4-byte length and its bytes",
                 <int>t.name.size, <const char *>t.name.data, <long long>view.elements)
        return wrong(v, REASON_INVALID_INPUT)
    expected = <size_t>view.elements * mw_dtype_size(t.dtype)
    if view.raw.size != expected:
        snprintf(v.text, VERDICT_TEXT, "input '%.*s': %zu bytes of raw data; its shape and %s need %zu",
                 <int>t.name.size, <const char *>t.name.data, view.raw.size, mw_dtype_name(t.dtype), expected)
        return wrong(v, REASON_INVALID_INPUT)
    if t.dtype == MW_BOOL and not bools_valid(view.raw):
        snprintf(v.text, VERDICT_TEXT, "input '%.*s': raw BOOL data holds a byte that is neither 0 nor 1",
                 <int>t.name.size, <const char *>t.name.data)
        return wrong(v, REASON_INVALID_INPUT)
    return True


cdef bint validate_typed(const mw_scan_input *given, const Tensor *t, const mw_view *view, size_t *size, Verdict *v) noexcept:
    """Typed contents: only the field of the datatype, and as many values as the shape says; size gets their raw size."""
    cdef int kind = mw_oip_contents_kind(t.dtype)
    if kind == 0:
        snprintf(v.text, VERDICT_TEXT, "input '%.*s': %s has no typed contents; send raw_input_contents",
                 <int>t.name.size, <const char *>t.name.data, mw_dtype_name(t.dtype))
        return wrong(v, REASON_INVALID_INPUT)
    if given.contents_kinds & ~(1 << kind):
        snprintf(v.text, VERDICT_TEXT, "input '%.*s': contents hold values of another datatype than %s",
                 <int>t.name.size, <const char *>t.name.data, mw_dtype_name(t.dtype))
        return wrong(v, REASON_INVALID_INPUT)
    if given.contents_count[kind] != <uint64_t>view.elements:
        snprintf(v.text, VERDICT_TEXT, "input '%.*s': %llu values; its shape needs %lld",
                 <int>t.name.size, <const char *>t.name.data, <unsigned long long>given.contents_count[kind],
                 <long long>view.elements)
        return wrong(v, REASON_INVALID_INPUT)
    size[0] = mw_oip_contents_size(given, t.dtype)
    return True


cdef bint convert(const mw_scan *found, Exchange *x, Model *m, const uint8_t *seen, const uint32_t *given_of,
                  const size_t *sizes, size_t total, Verdict *v) noexcept:
    """Writes typed contents in raw form; they count as bytes in flight like the message they came in."""
    cdef size_t at = 0
    cdef uint32_t i
    cdef int grown
    pay_for(&x.converted, x.body.holder)
    grown = grow_beside(x.wire, &x.converted, max(total, <size_t>1))
    if grown == -1:
        snprintf(v.text, VERDICT_TEXT, "requests in flight hold %zu bytes already; retry shortly", x.wire.inflight_limit)
        wrong(v, REASON_INFLIGHT_BYTES)
        v.retry_ns = 100000000
        return False
    if grown < 0:
        snprintf(v.text, VERDICT_TEXT, "out of memory")
        return wrong(v, REASON_OUT_OF_MEMORY)
    for i in range(m.input_count):
        if not seen[i]:
            continue
        x.view[i].raw.data = x.converted.data + at
        x.view[i].raw.size = sizes[i]
        if mw_oip_contents(&found.input[given_of[i]], m.inputs[i].dtype, x.converted.data + at, sizes[i]) < 0:
            snprintf(v.text, VERDICT_TEXT, "input '%.*s': a value does not fit %s",
                     <int>m.inputs[i].name.size, <const char *>m.inputs[i].name.data, mw_dtype_name(m.inputs[i].dtype))
            return wrong(v, REASON_INVALID_INPUT)
        at += sizes[i]
    return True


cdef bint validate_outputs(const mw_scan *found, Exchange *x, Model *m, Verdict *v) noexcept:
    cdef char names[LISTED]
    cdef uint32_t i, k
    cdef int at
    if found.outputs == 0:
        return True
    x.wanted = <uint8_t *>malloc(found.outputs)
    if x.wanted == NULL:
        snprintf(v.text, VERDICT_TEXT, "out of memory")
        return wrong(v, REASON_OUT_OF_MEMORY)
    for i in range(found.outputs):
        at = find(m.outputs, m.output_count, i, found.output[i].name)
        if at < 0:
            snprintf(v.text, VERDICT_TEXT, "unknown output '%.*s'; the model has: %s", shown(found.output[i].name),
                     <const char *>found.output[i].name.data, names_text(m.outputs, m.output_count, names))
            return wrong(v, REASON_INVALID_INPUT)
        if m.pool != NULL:
            if found.output[i].shared_memory:
                x.opaque |= OPAQUE_SHARED
            if found.output[i].classification:
                x.opaque |= OPAQUE_ANSWER
        elif found.output[i].shared_memory or found.output[i].classification:
            snprintf(v.text, VERDICT_TEXT, "output '%.*s': shared memory and classification are not supported",
                     <int>m.outputs[at].name.size, <const char *>m.outputs[at].name.data)
            return wrong(v, REASON_UNSUPPORTED_FEATURE)
        for k in range(i):
            if x.wanted[k] == at:
                snprintf(v.text, VERDICT_TEXT, "output '%.*s' is requested twice",
                         <int>m.outputs[at].name.size, <const char *>m.outputs[at].name.data)
                return wrong(v, REASON_INVALID_INPUT)
        x.wanted[i] = <uint8_t>at
    x.wanteds = found.outputs
    return True


cdef bint validate(const mw_scan *found, Exchange *x, Model *m, Verdict *v) noexcept:
    cdef char names[LISTED]
    cdef uint32_t given_of[<int>MW_MAX_TENSORS]
    cdef size_t sizes[<int>MW_MAX_TENSORS]
    cdef uint8_t seen[<int>MW_MAX_TENSORS]
    cdef const mw_scan_input *given
    cdef const Tensor *t
    cdef uint32_t i
    cdef size_t dims = 0, total = 0
    cdef int at, first = -1
    cdef bint unread = False
    cdef int64_t *d
    memset(seen, 0, m.input_count)
    for i in range(m.input_count):
        dims += m.inputs[i].rank
    if not take_tensors(x, m.input_count, dims):
        snprintf(v.text, VERDICT_TEXT, "out of memory")
        return wrong(v, REASON_OUT_OF_MEMORY)
    for i in range(found.inputs):
        given = &found.input[i]
        at = find(m.inputs, m.input_count, i, given.name)
        if at < 0:
            snprintf(v.text, VERDICT_TEXT, "unknown input '%.*s'; the model takes: %s", shown(given.name),
                     <const char *>given.name.data, names_text(m.inputs, m.input_count, names))
            return wrong(v, REASON_INVALID_INPUT)
        t = &m.inputs[at]
        if seen[at]:
            snprintf(v.text, VERDICT_TEXT, "input '%.*s' is given twice", <int>t.name.size, <const char *>t.name.data)
            return wrong(v, REASON_INVALID_INPUT)
        seen[at] = 1
        given_of[at] = i
        if given.shared_memory and m.pool != NULL:
            x.opaque |= OPAQUE_SHARED
            unread = True
        elif given.shared_memory:
            snprintf(v.text, VERDICT_TEXT, "input '%.*s': shared memory is not supported; send the data in the request",
                     <int>t.name.size, <const char *>t.name.data)
            return wrong(v, REASON_UNSUPPORTED_FEATURE)
        if mw_dtype_of(given.datatype) != t.dtype:
            snprintf(v.text, VERDICT_TEXT, "input '%.*s': datatype is '%.*s'; the model takes %s", <int>t.name.size,
                     <const char *>t.name.data, shown(given.datatype), <const char *>given.datatype.data,
                     mw_dtype_name(t.dtype))
            return wrong(v, REASON_INVALID_INPUT)
        if found.raws and given.has_contents and given.contents_kinds:
            snprintf(v.text, VERDICT_TEXT, "input '%.*s': contents must not be set where raw_input_contents are used",
                     <int>t.name.size, <const char *>t.name.data)
            return wrong(v, REASON_INVALID_INPUT)
    if found.inputs != m.input_count:
        for i in range(m.input_count):
            if not seen[i] and not m.inputs[i].optional:
                snprintf(v.text, VERDICT_TEXT, "input '%.*s' is missing",
                         <int>m.inputs[i].name.size, <const char *>m.inputs[i].name.data)
                return wrong(v, REASON_INVALID_INPUT)
    if unread:
        drop_tensors(x)           # those whose bytes are here are the upstream's to judge, with the others
        x.rows = 1
        return validate_outputs(found, x, m, v)
    if found.raws and found.raws != found.inputs:
        snprintf(v.text, VERDICT_TEXT, "%u raw_input_contents for %u inputs", found.raws, found.inputs)
        return wrong(v, REASON_INVALID_INPUT)
    d = x.dims
    x.rows = 1
    for i in range(m.input_count):
        t = &m.inputs[i]
        x.view[i].dtype = t.dtype
        if not seen[i]:
            x.view[i].elements = 0
            x.view[i].raw.data = NULL
            x.view[i].raw.size = 0
            memset(d, 0, t.rank * sizeof(int64_t))
            d += t.rank
            continue
        given = &found.input[given_of[i]]
        if not validate_shape(given, t, &x.view[i].elements, v):
            return False
        memcpy(d, given.shape, t.rank * sizeof(int64_t))
        if m.has_batch_axis:
            if first >= 0 and d[0] != x.rows:
                snprintf(v.text, VERDICT_TEXT, "input '%.*s' has %lld rows, '%.*s' has %lld", <int>t.name.size,
                         <const char *>t.name.data, <long long>d[0], <int>m.inputs[first].name.size,
                         <const char *>m.inputs[first].name.data, <long long>x.rows)
                return wrong(v, REASON_INVALID_INPUT)
            x.rows = d[0]
            first = <int>i
        if x.view[i].elements == 0:
            x.empty = True
            if not validate_empty(given, t, x.body.size, v):
                return False
        d += t.rank
        if found.raws:
            x.view[i].raw = found.raw[given_of[i]]
            if not validate_raw(t, &x.view[i], v):
                return False
        else:
            if not validate_typed(given, t, &x.view[i], &sizes[i], v):
                return False
            total += sizes[i]
    if x.empty and not validate_zeros(x, m, v):
        return False
    if not found.raws and m.input_count and not convert(found, x, m, seen, given_of, sizes, total, v):
        return False
    return validate_outputs(found, x, m, v)
