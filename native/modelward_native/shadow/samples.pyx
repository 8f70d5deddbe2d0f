"""Requests on which a shadow disagreed, with both answers: the few that wait to be written to disk."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.tensor cimport mw_span
from modelward_native.shadow.shadow cimport shadow_of

cdef enum:
    SAMPLE_BYTES = 262144         # a larger one is not kept


cdef void take_sample(Samples *samples, const Exchange *y, mw_span primary, mw_span answer, double disagreement) noexcept:
    cdef const Model *asked = y.mirrors.asked
    cdef bytes name = shadow_of(y.shadow_link).text
    cdef Sample *sample
    cdef mw_span part[5]
    cdef size_t total = 0, at = 0
    cdef uint32_t own = 0
    cdef int i
    for i in range(<int>samples.count):
        own += samples.sample[i].part == part_of(y.payers.identity)
    if samples.count >= SAMPLES or own and own >= SAMPLES - samples.count:
        return
    part[0] = asked.name
    part[1] = mw_span(<const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
    part[2] = mw_span(y.body.data, y.body.size)
    part[3] = primary
    part[4] = answer
    for i in range(5):
        total += part[i].size
    if total > SAMPLE_BYTES:
        return
    sample = &samples.sample[samples.count]
    sample.text = <char *>malloc(total)
    if sample.text == NULL:
        return
    samples.count += 1
    sample.disagreement = disagreement
    sample.part = part_of(y.payers.identity)
    for i in range(5):
        sample.size[i] = part[i].size
        if part[i].size:
            memcpy(sample.text + at, part[i].data, part[i].size)
        at += part[i].size


cdef void drop_samples(Samples *samples) noexcept:
    while samples.count:
        samples.count -= 1
        free(samples.sample[samples.count].text)


cdef list samples_taken(Samples *samples):
    cdef Sample *sample
    cdef list parts, taken = []
    cdef size_t at
    cdef int k
    while samples.count:
        samples.count -= 1
        sample = &samples.sample[samples.count]
        try:
            parts = []
            at = 0
            for k in range(5):
                parts.append(sample.text[at:at + sample.size[k]])
                at += sample.size[k]
            taken.append((parts[0].decode(), parts[1].decode(), sample.disagreement, parts[2], parts[3], parts[4]))
        finally:
            free(sample.text)
    taken.reverse()
    return taken
