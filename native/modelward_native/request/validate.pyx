"""A scanned ModelInferRequest compared with a model's signature: what passes here may reach ONNX Runtime."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from modelward_native.request.empty cimport bears
from modelward_native.request.hidden_outputs cimport hide_outputs
from modelward_native.request.exchange cimport INLINE_DIMENSIONS, INLINE_TENSORS, OPAQUE_ANSWER, OPAQUE_SHARED, Exchange
from modelward_native.wire.holding cimport grow_beside, pay_for
from modelward_native.request.oip cimport (
    mw_oip_bytes_valid, mw_oip_contents, mw_oip_contents_kind, mw_oip_contents_size, mw_oip_elements, mw_scan, mw_scan_input)
from modelward_native.request.model cimport Model, Tensor
from modelward_native.request.tensor cimport (
    MW_BOOL, MW_BYTES, MW_MAX_TENSORS, mw_dtype_name, mw_dtype_of, mw_dtype_size, mw_span, mw_view)
from modelward_native.request.verdict cimport (
    REASON_INFLIGHT_BYTES, REASON_INVALID_INPUT, REASON_OUT_OF_MEMORY, REASON_UNSUPPORTED_FEATURE, VERDICT_TEXT, Verdict,
    set_reason)
from modelward_native.request.scan cimport shown

cdef enum:
    LISTED = 320                  # bytes of a list of names in an error
    EMPTY_LEAST = 1024            # elements that a tensor of no elements may have but for its zeros, however short the message


# ---- errors ------------------------------------------------------------------------------------------------

cdef bint wrong(Verdict *v, int reason) noexcept:
    """Its text is written."""
    set_reason(v, reason)
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


# ---- memory of an exchange's tensors -------------------------------------------------------------------------

cdef bint take_tensors(Exchange *x, unsigned int count, size_t dims) noexcept:
    """Memory for count tensors with dims dimensions in all; False for want of it."""
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


# ---- the request and the signature -----------------------------------------------------------------------

cdef struct Match:                # the message's inputs in the model's order
    uint8_t seen[<int>MW_MAX_TENSORS]      # it is in the message
    uint32_t at[<int>MW_MAX_TENSORS]       # there
    size_t sizes[<int>MW_MAX_TENSORS]      # of typed contents in raw form
    bint shared                            # one has no bytes here: they are in memory that the upstream shares with the client


cdef bint bools_valid(mw_span raw) noexcept:
    """Every byte is 0 or 1: any other value in a C++ bool is undefined behaviour in the backend."""
    cdef size_t i
    cdef uint8_t seen = 0
    for i in range(raw.size):
        seen |= raw.data[i]
    return seen <= 1


cdef int find_tensor(const Tensor *tensors, uint32_t count, uint32_t hint, mw_span name) noexcept:
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


cdef bint convert(const mw_scan *found, Exchange *x, const Model *m, const Match *match, size_t total, Verdict *v) noexcept:
    """Writes typed contents in raw form; they count as bytes in flight like the message they came in."""
    cdef size_t at = 0
    cdef uint32_t i
    cdef int grown
    pay_for(&x.converted, x.body.holder)
    grown = grow_beside(x.wire, &x.converted, max(total, <size_t>1))
    if grown == -1:
        snprintf(v.text, VERDICT_TEXT, "requests in flight hold %zu bytes already; retry shortly", x.wire.inflight_limit)
        return wrong(v, REASON_INFLIGHT_BYTES)
    if grown < 0:
        snprintf(v.text, VERDICT_TEXT, "out of memory")
        return wrong(v, REASON_OUT_OF_MEMORY)
    for i in range(m.input_count):
        if not match.seen[i]:
            continue
        x.view[i].raw.data = x.converted.data + at
        x.view[i].raw.size = match.sizes[i]
        if mw_oip_contents(&found.input[match.at[i]], m.inputs[i].dtype, x.converted.data + at, match.sizes[i]) < 0:
            snprintf(v.text, VERDICT_TEXT, "input '%.*s': a value does not fit %s",
                     <int>m.inputs[i].name.size, <const char *>m.inputs[i].name.data, mw_dtype_name(m.inputs[i].dtype))
            return wrong(v, REASON_INVALID_INPUT)
        at += match.sizes[i]
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
        at = find_tensor(m.outputs, m.output_count, i, found.output[i].name)
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
    x.wanteds = x.shown = found.outputs
    if hide_outputs(x, m):
        return True
    snprintf(v.text, VERDICT_TEXT, "out of memory")
    return wrong(v, REASON_OUT_OF_MEMORY)


cdef bint match_inputs(const mw_scan *found, const Model *m, Match *match, Verdict *v) noexcept:
    """By name and datatype: each once, none unknown, none missing but what is optional."""
    cdef char names[LISTED]
    cdef const mw_scan_input *given
    cdef const Tensor *t
    cdef uint32_t i
    cdef int at
    match.shared = False
    memset(match.seen, 0, m.input_count)
    for i in range(found.inputs):
        given = &found.input[i]
        at = find_tensor(m.inputs, m.input_count, i, given.name)
        if at < 0:
            snprintf(v.text, VERDICT_TEXT, "unknown input '%.*s'; the model takes: %s", shown(given.name),
                     <const char *>given.name.data, names_text(m.inputs, m.input_count, names))
            return wrong(v, REASON_INVALID_INPUT)
        t = &m.inputs[at]
        if match.seen[at]:
            snprintf(v.text, VERDICT_TEXT, "input '%.*s' is given twice", <int>t.name.size, <const char *>t.name.data)
            return wrong(v, REASON_INVALID_INPUT)
        match.seen[at] = 1
        match.at[at] = i
        if given.shared_memory and m.pool != NULL:
            match.shared = True
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
            if not match.seen[i] and not m.inputs[i].optional:
                snprintf(v.text, VERDICT_TEXT, "input '%.*s' is missing",
                         <int>m.inputs[i].name.size, <const char *>m.inputs[i].name.data)
                return wrong(v, REASON_INVALID_INPUT)
    return True


cdef bint validate_inputs(const mw_scan *found, Exchange *x, Model *m, Match *match, Verdict *v) noexcept:
    """Shapes and bytes, which become the exchange's views; rows are what all inputs have of them."""
    cdef const mw_scan_input *given
    cdef const Tensor *t
    cdef uint32_t i
    cdef size_t total = 0
    cdef int first = -1
    cdef int64_t *d = x.dims
    if found.raws and found.raws != found.inputs:
        snprintf(v.text, VERDICT_TEXT, "%u raw_input_contents for %u inputs", found.raws, found.inputs)
        return wrong(v, REASON_INVALID_INPUT)
    for i in range(m.input_count):
        t = &m.inputs[i]
        x.view[i].dtype = t.dtype
        if not match.seen[i]:
            x.view[i].elements = 0
            x.view[i].raw.data = NULL
            x.view[i].raw.size = 0
            memset(d, 0, t.rank * sizeof(int64_t))
            d += t.rank
            continue
        given = &found.input[match.at[i]]
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
            x.view[i].raw = found.raw[match.at[i]]
            if not validate_raw(t, &x.view[i], v):
                return False
        else:
            if not validate_typed(given, t, &x.view[i], &match.sizes[i], v):
                return False
            total += match.sizes[i]
    if x.empty and not validate_zeros(x, m, v):
        return False
    return found.raws or m.input_count == 0 or convert(found, x, m, match, total, v)


cdef bint validate(const mw_scan *found, Exchange *x, Model *m, Verdict *v) noexcept:
    cdef Match match
    cdef uint32_t i
    cdef size_t dims = 0
    x.rows = 1
    if not match_inputs(found, m, &match, v):
        return False
    if match.shared:
        x.opaque |= OPAQUE_SHARED         # those whose bytes are here are the upstream's to judge, with the others
        return validate_outputs(found, x, m, v)
    for i in range(m.input_count):
        dims += m.inputs[i].rank
    if not take_tensors(x, m.input_count, dims):
        snprintf(v.text, VERDICT_TEXT, "out of memory")
        return wrong(v, REASON_OUT_OF_MEMORY)
    return validate_inputs(found, x, m, &match, v) and validate_outputs(found, x, m, v)
