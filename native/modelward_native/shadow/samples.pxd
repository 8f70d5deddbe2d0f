# Requests on which a shadow disagreed, with both answers: the few that wait to be written to disk.
from libc.stdint cimport uint32_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.tensor cimport mw_span

cdef enum:
    SAMPLES = 16                  # that wait to be taken

cdef struct Sample:
    char *text                    # owned: names of model and shadow, request, and both answers, one after the other
    size_t size[5]                # of each
    double disagreement
    uint32_t part                 # of the callers, that its own is of

cdef struct Samples:
    Sample sample[SAMPLES]
    uint32_t count

# y disagreed. It is kept as long as there is room, for more than one caller's: they are taken once a second.
cdef void take_sample(Samples *samples, const Exchange *y, mw_span primary, mw_span answer, double disagreement) noexcept
# (model, shadow, disagreement, request, the version's answer, the shadow's), and forgets them.
cdef list samples_taken(Samples *samples)
cdef void drop_samples(Samples *samples) noexcept
