"""A shadow of a model, and what links a version to it."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport malloc, realloc
from libc.string cimport memset

from modelward_native.request.model cimport NO_OUTPUT, Model, ShadowLink
from modelward_native.request.name cimport LONGEST_VERSION
from modelward_native.request.served cimport Served, check_fits


cdef class Shadow:
    """One shadow of a model under one configuration.

    served: what answers; of an engine that answers nothing else. fingerprint: stats of shadows with another one are not its.
    fraction: share of requests. anomalous: those that are flagged alone, those that are not, or None. patterns: names of
    callers, * stands for any characters; empty: all. kinds: what may prove these names: certificate, token, key.
    deadline: ns. permits: requests in flight. bytes_limit: their bytes. warmup: pairs that are not counted. tolerance: relative
    difference up to which numbers agree.
    """

    def __init__(self, Served served not None, str name not None, bytes fingerprint not None, *, double fraction=1.0,
                 anomalous=None, patterns=(), kinds=("certificate", "token", "key"), int64_t deadline=1000000000,
                 uint32_t permits=64, size_t bytes_limit=64 << 20, uint64_t warmup=0, double tolerance=0.001):
        self.served = served
        self.model = &served.model
        if self.model.version.size > LONGEST_VERSION:
            raise ValueError(f"the version has {self.model.version.size} bytes, {LONGEST_VERSION} are the most")
        self.name = name
        self.text = name.encode()
        self.fingerprint = fingerprint
        self.fraction = fraction
        self.anomalous = -1 if anomalous is None else bool(anomalous)
        self.patterns = [pattern.encode() for pattern in patterns]
        self.kinds = "".join([kind[0] for kind in kinds]).encode()
        self.deadline = deadline
        self.permits = permits
        self.bytes_limit = bytes_limit
        self.warmup = warmup
        self.tolerance = tolerance

    @property
    def in_flight(self) -> tuple:
        """Requests, and bytes that are held for them."""
        return self.inflight, self.held


def link_shadow(Served served not None, Shadow shadow not None, bytes content not None):
    """From now on the shadow gets the requests for this version, too. To be called before the version is served.

    content: what the version is of: stats of its pairs with the shadow are not those of another content. Raises ValueError
    where a shadow that runs here takes other inputs.
    """
    cdef Model *m = &served.model
    cdef ShadowLink *link = <ShadowLink *>realloc(m.shadow_links, (m.shadow_link_count + 1) * sizeof(ShadowLink))
    if link == NULL:
        raise MemoryError
    m.shadow_links = link
    link += m.shadow_link_count
    memset(link, 0, sizeof(ShadowLink))
    served.shadows.append((shadow, content))
    link.shadow = <PyObject *>shadow
    m.shadow_link_count += 1
    if shadow.model.pool == NULL:
        order_tensors(served, shadow.served, link)


cdef int order_tensors(Served asked, Served other, ShadowLink *link) except -1:
    cdef Model *a = &asked.model
    cdef Model *b = &other.model
    cdef uint32_t i
    if a.undecoded:
        raise ValueError("requests for it pass undecoded")
    if a.has_batch_axis != b.has_batch_axis:
        raise ValueError("the two do not agree on whether the first dimension is the batch")
    ours = {spec[0]: k for k, spec in enumerate(asked.engine.inputs)}
    theirs = {spec[0]: k for k, spec in enumerate(other.engine.outputs)}
    link.inputs = <uint32_t *>malloc(max(b.input_count, <uint32_t>1) * sizeof(uint32_t))
    link.outputs = <uint32_t *>malloc(max(a.output_count, <uint32_t>1) * sizeof(uint32_t))
    if link.inputs == NULL or link.outputs == NULL:
        raise MemoryError
    for i, spec in enumerate(other.engine.inputs):
        if spec[0] not in ours or a.inputs[<uint32_t>ours[spec[0]]].optional:
            raise ValueError(f"it takes an input '{spec[0]}', which a request need not have")
        check_fits(asked.engine.inputs[ours[spec[0]]], spec, "input")
        link.inputs[i] = ours[spec[0]]
    for i, spec in enumerate(asked.engine.outputs):
        link.outputs[i] = theirs.get(spec[0], NO_OUTPUT)
    return 0
