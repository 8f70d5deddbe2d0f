"""The worker's half of observations: a request that was chosen, as it was asked, scored and answered.

Its rows are gathered and scored once more. That costs only those that are chosen, and nothing is to be kept of all others
between their arrival and their end.
"""
from libc.math cimport NAN
from libc.stdint cimport UINT32_MAX, UINT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import os

from modelward_native.backend.random cimport next_random
from modelward_native.detect.suspicion cimport MW_NAT, MW_SIGNALS, mw_suspect, mw_suspect_find, mw_suspect_key
from modelward_native.observe.observed cimport *
from modelward_native.region.region cimport Named, Region
from modelward_native.request.chosen_rows cimport mw_chosen_row
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.tensor cimport MW_MAX_TENSORS, mw_span, mw_view
from modelward_native.request.verdict cimport REASON_NONE
from modelward_native.score.profile cimport mw_score_row_size, mw_score_scratch_size
from modelward_native.shadow.mirror cimport message_of
from modelward_native.stages.stage cimport Result

cdef bytes RING = b"observe\0ring"
cdef uint32_t sources = 0         # numbers that this process has given


cdef int begin_observing(Observer *observer, Region region, uint64_t size) except -1:
    """The size of a ring that is there stays: its reader and the worker before have used it."""
    cdef const Named *entry
    cdef mw_ring *ring
    region.hold()
    try:
        entry = region.find(RING)
        ring = <mw_ring *>region.block(RING, mw_ring_size_of(size) if entry == NULL else entry.size)
        ring.size = (size if entry == NULL else entry.size - mw_ring_size_of(0)) // 8 * 8
    finally:
        region.let_go()
    observer.random = int.from_bytes(os.urandom(8)) | 1
    observer.ring = ring
    return 0


cdef Observed *new_observed(
        const Model *m, double share, bytes description, bint tensors, uint32_t most) except NULL:
    global sources
    cdef Observed *o = <Observed *>calloc(1, sizeof(Observed))
    cdef int32_t i, features
    if o == NULL:
        raise MemoryError
    sources += 1
    o.number = sources
    o.chosen = UINT32_MAX if share >= 1 else <uint32_t>(share * UINT32_MAX)
    o.tensors = tensors
    o.most = most
    o.description = description
    o.description_size = <uint32_t>len(description)
    o.scored = m.profile != NULL
    if not o.scored:
        return o
    features = m.profile.features
    o.unscaled = <double *>calloc(max(2 * features, 1), sizeof(double))
    o.row = <float *>calloc(max(2 * mw_score_row_size(m.profile), <size_t>1), sizeof(float))
    o.scratch = <float *>calloc(max(mw_score_scratch_size(m.profile), <size_t>1), sizeof(float))
    if o.unscaled == NULL or o.row == NULL or o.scratch == NULL:
        free_observed(o)
        raise MemoryError
    for i in range(features):
        o.unscaled[features + i] = 1.0
    o.raw = mw_raw_profile(m.profile, o.unscaled, o.unscaled + features)
    return o


cdef void free_observed(Observed *o) noexcept:
    if o != NULL:
        free(o.unscaled)
        free(o.row)
        free(o.scratch)
        free(o)


# ---- sizes

cdef uint64_t inputs_size(const Exchange *x) noexcept:
    cdef uint64_t size = 0
    cdef uint32_t i
    for i in range(x.asked.input_count):
        size += sizeof(mw_observed_tensor) + 8 * x.asked.inputs[i].rank + mw_padded(x.view[i].raw.size)
    return size


cdef inline uint64_t row_size(const Observed *o) noexcept:
    return sizeof(mw_observed_row) + (sizeof(float) * o.raw.features + sizeof(uint64_t) * o.raw.columns if o.scored else 0)


cdef bint describe(mw_ring *ring, Observed *o) noexcept:
    """The source comes before its first request. False where there is no room for it."""
    cdef mw_observed_source source
    cdef uint64_t size = mw_padded(sizeof(source) + o.description_size)
    cdef uint8_t *at = mw_ring_reserve(ring, size)
    if at == NULL:
        return False
    source.head.size = <uint32_t>size
    source.head.kind = MW_OBSERVED_SOURCE
    source.source = o.number
    source.size = o.description_size
    memcpy(at, &source, sizeof(source))
    memcpy(at + sizeof(source), o.description, o.description_size)
    mw_ring_commit(ring, at, size)
    o.described = True
    return True


# ---- one request

cdef void tell_caller(mw_observed *head, const Exchange *x) noexcept:
    """The step that its caller is at, and the evidence against it, strong and mild of each signal."""
    cdef const mw_suspect *s = NULL
    cdef int i
    head.step = x.step
    if x.policy != NULL and x.asked.suspicion != NULL:
        s = mw_suspect_find(x.asked.suspicion, mw_suspect_key(x.payers.identity, x.asked.suspect_key))
    if s != NULL:
        for i in range(min(<int>MW_OBSERVED_EVIDENCE, 2 * <int>MW_SIGNALS)):
            head.evidence[i] = s.evidence[i] / <float>MW_NAT


cdef void keep_observation(Observer *observer, const Exchange *x, const Result *r, uint32_t chance, int64_t now) noexcept:
    cdef Observed *o = x.asked.observed
    cdef mw_ring *ring = observer.ring
    cdef mw_observed head
    cdef mw_span answer
    cdef uint64_t size, most_rows
    cdef int64_t step = 1
    cdef uint8_t *at
    if not o.described and not describe(ring, o):
        ring.dropped += 1
        return
    memset(&head, 0, sizeof(head))
    answer.data = NULL
    answer.size = 0
    tell(&head, o, x, r, chance, now)
    if x.view != NULL:
        # what all rows take may be a quarter of the ring at most, as may inputs and answer together
        most_rows = max(min(<uint64_t>MW_OBSERVED_ROWS, ring.size // 4 // row_size(o)), <uint64_t>1)
        if x.rows > 0:
            step = (x.rows + <int64_t>most_rows - 1) // <int64_t>most_rows
            head.rows = <uint32_t>((x.rows + step - 1) // step)
        if o.tensors:
            size = inputs_size(x)
            if size > min(<uint64_t>o.most, ring.size // 8):
                head.cut |= MW_CUT_INPUTS
            else:
                head.inputs_size = <uint32_t>size
    if r.answer != NULL:
        answer = message_of(x, r.answer)
        if answer.size > min(<uint64_t>o.most, ring.size // 8):
            head.cut |= MW_CUT_ANSWER
        else:
            head.answer_size = <uint32_t>answer.size
    size = sizeof(head) + mw_padded(head.id_size) + mw_padded(head.rows * row_size(o)) + head.inputs_size
    size += mw_padded(head.answer_size)
    at = mw_ring_reserve(ring, size)
    if at == NULL:
        ring.dropped += 1
        return
    tell_caller(&head, x)
    head.head.size = <uint32_t>size
    head.head.kind = MW_OBSERVED_REQUEST
    write(at, &head, o, x, answer, step, x.rows_seed if x.rows_seed or step == 1 else next_random(&observer.random))
    memcpy(at, &head, sizeof(head))
    mw_ring_commit(ring, at, size)
    ring.kept += 1
    ring.cut += (head.cut & (MW_CUT_INPUTS | MW_CUT_ANSWER)) != 0


cdef uint64_t unasked_of(const Exchange *x) noexcept:
    """An answer of classes, or in shared memory, is not as it is declared since its client wants it so."""
    cdef uint64_t asked[4]
    cdef uint64_t unasked = 0
    cdef uint32_t i
    if x.opaque:
        return UINT64_MAX
    if x.wanted == NULL:
        return 0
    memset(asked, 0, sizeof(asked))
    for i in range(x.wanteds):
        asked[x.wanted[i] >> 6] |= <uint64_t>1 << (x.wanted[i] & 63)
    for i in range(x.asked.output_count):
        if not asked[(i >> 6) & 3] >> (i & 63) & 1:
            unasked |= <uint64_t>1 << min(i, <uint32_t>63)
    return unasked


cdef void tell(mw_observed *head, const Observed *o, const Exchange *x, const Result *r, uint32_t chance,
               int64_t now) noexcept:
    """All that has no size."""
    head.source = o.number
    head.chance = chance
    head.at = now
    head.took = now - x.entered
    head.total_rows = x.rows
    head.unasked = unasked_of(x)
    head.score = head.p_value = NAN
    head.flagged = x.flagged
    if r.answer == NULL:
        head.answered_by = MW_REFUSED
        head.reason = <uint8_t>r.reason
    elif x.fallback_reason != REASON_NONE:
        head.answered_by = MW_BY_FALLBACK
        head.fallback_reason = x.fallback_reason
    head.features = o.raw.features if o.scored else 0
    head.columns = o.raw.columns if o.scored else 0
    head.id_size = <uint32_t>x.id.size if x.id.size <= MW_OBSERVED_ID else 0
    head.identity = x.payers.peer
    if x.stream == NULL:
        return
    if x.stream.caller != NULL and x.stream.caller.name != NULL:
        head.identity = x.stream.caller.sticky
        head.caller = x.stream.caller.kind[0]
    if x.stream.traced:
        head.traced = 1
        memcpy(head.trace, x.stream.trace, sizeof(head.trace))


cdef void write(uint8_t *at, mw_observed *head, Observed *o, const Exchange *x, mw_span answer, int64_t step,
                uint64_t seed) noexcept:
    cdef mw_view views[<int>MW_MAX_TENSORS]
    cdef mw_observed_row *rows
    cdef float *features
    cdef uint64_t *categories
    cdef uint32_t i, found = 0
    at += sizeof(head[0])
    if head.id_size:
        memcpy(at, x.id.data, head.id_size)
    at += mw_padded(head.id_size)
    rows = <mw_observed_row *>at
    at += head.rows * sizeof(mw_observed_row)
    features = <float *>at
    at += mw_padded(<uint64_t>head.rows * head.features * sizeof(float))
    categories = <uint64_t *>at
    at += <uint64_t>head.rows * head.columns * sizeof(uint64_t)
    if o.scored and head.rows:
        for i in range(<uint32_t>x.asked.profile.inputs):
            views[i] = x.view[x.asked.profile_input[i]]
        found = mw_observe_rows(
            x.asked.profile, &o.raw, views, x.rows, head.rows, step, seed, o.row, o.scratch, rows, features,
            categories)
        if found == 0:
            head.cut |= MW_CUT_SCORES
            memset(categories, 0, <uint64_t>head.rows * head.columns * sizeof(uint64_t))
            for i in range(head.rows * head.features):
                features[i] = NAN
    for i in range(head.rows):
        if found == 0:
            memset(&rows[i], 0, sizeof(rows[i]))
            rows[i].score = rows[i].p_value = NAN
            rows[i].row = <uint32_t>mw_chosen_row(seed, i, step, x.rows)
            rows[i].cell = -1
        elif i == 0 or rows[i].score > head.score:
            head.score = rows[i].score
            head.p_value = rows[i].p_value
    if head.inputs_size:
        at = write_inputs(at, x)
    if head.answer_size:
        memcpy(at, answer.data, head.answer_size)


cdef uint8_t *write_inputs(uint8_t *at, const Exchange *x) noexcept:
    cdef const int64_t *dims = x.dims
    cdef mw_observed_tensor tensor
    cdef uint32_t i
    for i in range(x.asked.input_count):
        tensor.dtype = x.view[i].dtype
        tensor.rank = x.asked.inputs[i].rank
        tensor.size = x.view[i].raw.size
        memcpy(at, &tensor, sizeof(tensor))
        at += sizeof(tensor)
        memcpy(at, dims, 8 * tensor.rank)
        at += 8 * tensor.rank
        dims += tensor.rank
        if tensor.size:
            memcpy(at, x.view[i].raw.data, tensor.size)
        at += mw_padded(tensor.size)
    return at
