# A shadow of a model under one configuration, and what its copies hold now.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.request.caller cimport CALLERS
from modelward_native.request.model cimport Model, ShadowLink
from modelward_native.request.served cimport Served

cdef class Shadow:
    cdef readonly Served served   # what answers
    cdef readonly str name
    cdef bytes text               # the name
    cdef readonly bytes fingerprint
    cdef Model *model             # served's
    cdef double fraction
    cdef int anomalous            # 1: flagged requests alone, 0: all others, -1: both
    cdef list patterns            # of callers' names, as bytes; empty: all
    cdef bytes kinds              # first letters of what may prove them
    cdef int64_t deadline         # ns
    cdef uint32_t permits
    cdef uint32_t inflight
    cdef size_t bytes_limit       # of `held`
    cdef size_t held              # of requests and answers in flight
    cdef uint32_t[<int>CALLERS] inflight_of   # by part of the callers: what one of them holds
    cdef size_t[<int>CALLERS] held_of
    cdef int64_t contended        # ns; until then no caller may hold more than is free
    cdef uint64_t warmup          # pairs that are not counted
    cdef double tolerance

cdef inline Shadow shadow_of(const ShadowLink *link):
    return <Shadow>link.shadow
