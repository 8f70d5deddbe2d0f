"""Which model answers: names looked up in a sorted table, versions by their text or by their weights."""
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

import os

from modelward_native.shadow.evidence cimport ASSIGNED_BY_CHANCE, ASSIGNED_BY_KEY, ASSIGNED_NAMED, Evidence
from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.stream cimport sticky_of
from modelward_native.request.model cimport Model
from modelward_native.request.scan cimport shown
from modelward_native.request.served cimport Served
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport REASON_UNKNOWN_MODEL, REASON_UNKNOWN_VERSION, VERDICT_TEXT, Verdict, set_reason

cdef extern from "sticky.h" nogil:
    uint64_t mw_sticky(const void *data, size_t size)
    uint32_t mw_sticky_choose(uint64_t key, uint64_t salt, const uint32_t *weight, uint32_t count, uint32_t total)

cdef enum:
    SHOWN = 65                    # bytes of an unknown name that are looked at: one more than the longest that is near

cdef int64_t SUGGESTION_NS = 10000000


cdef int order(mw_span a, mw_span b) noexcept:
    cdef size_t common = min(a.size, b.size)
    cdef int c = memcmp(a.data, b.data, common) if common else 0    # an empty span may point nowhere
    if c:
        return c
    return (a.size > b.size) - (a.size < b.size)


cdef int weigh(Entry *entry, list versions, weights) except -1:
    """weights: version -> share, None: all for the newest."""
    cdef uint32_t i
    if weights is None:
        weights = {versions[len(versions) - 1].version: 1}    # no negative indices in compiled code
    for i, version in enumerate(versions):
        entry.weight[i] = weights.get(version.version, 0)
        entry.total += entry.weight[i]
        if entry.weight[i] >= entry.weight[entry.primary]:
            entry.primary = i
    if entry.total == 0:
        raise ValueError(f"no version of {versions[0].name} has any weight")
    return 0


cdef class Directory:
    """Served models by name. Takes a list with, for each model, the list of its Served versions, ascending. Never changed:
    another takes its place (modelward_native.request.server.Server.serve).

    weights: model -> version -> share of the requests that name no version; a version that is not there has none, and for a
    model that is not there the newest version has all. sticky_header: name, in lower case, of the header whose value says
    which requests are to get the same version; where it does not come, identity does. by_request: names of models of which each
    request gets a version by itself. explain: callable that makes an
    unknown name into a message with near names; None for a message without. refused: names of models that the repository
    holds and that cannot be served.
    """

    def __cinit__(self, list models, dict weights=None, bytes sticky_header=b"", by_request=frozenset(),
                  refused=()):
        cdef Entry *entry
        cdef Served version
        cdef uint32_t i
        self.served = []
        self.sticky_header = sticky_header
        self.requests = int.from_bytes(os.urandom(8), "little")
        self.entries = <Entry *>calloc(max(len(models), 1), sizeof(Entry))
        if self.entries == NULL:
            raise MemoryError
        for versions in sorted(models, key=lambda versions: versions[0].name.encode()):
            entry = &self.entries[self.count]
            entry.versions = <Model **>calloc(len(versions), sizeof(void *))
            if entry.versions == NULL:
                raise MemoryError
            self.count += 1
            entry.weight = <uint32_t *>calloc(len(versions), sizeof(uint32_t))
            if entry.weight == NULL:
                raise MemoryError
            for i, version in enumerate(versions):
                entry.versions[i] = &version.model
                self.served.append(version)
            entry.count = len(versions)
            entry.name = entry.versions[0].name
            entry.salt = mw_sticky(entry.name.data, entry.name.size)
            entry.by_request = versions[0].name in by_request
            weigh(entry, versions, (weights or {}).get(versions[0].name))
        self.names = sorted(name.encode() for name in refused)
        self.refused = <mw_span *>calloc(max(len(self.names), 1), sizeof(mw_span))
        if self.refused == NULL:
            raise MemoryError
        for name in self.names:
            self.refused[self.refused_count].data = <const uint8_t *>PyBytes_AS_STRING(name)
            self.refused[self.refused_count].size = len(name)
            self.refused_count += 1

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.count):
            free(self.entries[i].versions)
            free(self.entries[i].weight)
        free(self.entries)
        free(self.refused)

    cdef Entry *find(self, mw_span name) noexcept:
        cdef uint32_t low = 0, high = self.count, middle
        cdef int c
        while low < high:
            middle = (low + high) // 2
            c = order(name, self.entries[middle].name)
            if c == 0:
                return &self.entries[middle]
            if c < 0:
                high = middle
            else:
                low = middle + 1
        return NULL

    cdef Model *choose(self, const Entry *entry, uint64_t sticky) noexcept:
        if entry.weight[entry.primary] == entry.total:
            return entry.versions[entry.primary]
        if sticky == 0 or entry.by_request:
            self.requests += 1
            sticky = self.requests
        return entry.versions[mw_sticky_choose(sticky, entry.salt, entry.weight, entry.count, entry.total)]

    cdef Model *version(self, Entry *entry, mw_span version) noexcept:
        cdef uint32_t i
        for i in range(entry.count):
            if entry.versions[i].version.size == version.size and memcmp(
                    entry.versions[i].version.data, version.data, version.size) == 0:
                return entry.versions[i]
        return NULL

    cdef bint is_refused(self, mw_span name) noexcept:
        cdef uint32_t low = 0, high = self.refused_count, middle
        cdef int c
        while low < high:
            middle = (low + high) // 2
            c = order(name, self.refused[middle])
            if c == 0:
                return True
            if c < 0:
                high = middle
            else:
                low = middle + 1
        return False

    cdef void unknown_model(self, mw_span name, int64_t now, Verdict *v) noexcept:
        cdef bytes text
        set_reason(v, REASON_UNKNOWN_MODEL)
        if self.is_refused(name):
            snprintf(v.text, VERDICT_TEXT, "model '%.*s' is known and cannot be served: RepositoryIndex says why",
                     shown(name), <const char *>name.data)
            return
        snprintf(v.text, VERDICT_TEXT, "unknown model")
        # a search among names costs more than the refusal: strangers get at most a hundred a second
        if now - self.suggested < SUGGESTION_NS:
            return
        self.suggested = now
        if self.explain is None:
            return
        try:
            text = self.explain(name.data[:min(name.size, <size_t>SHOWN)].decode("utf-8", "ignore")).encode()
            text = text[:VERDICT_TEXT - 1].decode("utf-8", "ignore").encode()
            memcpy(v.text, <const char *>text, len(text) + 1)
        except MemoryError:
            pass                  # the short text is already there

    cdef void unknown_version(self, Entry *entry, mw_span version, Verdict *v) noexcept:
        cdef uint32_t i
        cdef size_t n
        set_reason(v, REASON_UNKNOWN_VERSION)
        n = snprintf(v.text, VERDICT_TEXT, "model '%.*s' has no version '%.*s'; it has:", shown(entry.name),
                     <const char *>entry.name.data, shown(version), <const char *>version.data)
        for i in range(min(entry.count, <uint32_t>8)):
            n += snprintf(v.text + n, VERDICT_TEXT - n, " %.*s", <int>min(entry.versions[i].version.size, <size_t>20),
                          <const char *>entry.versions[i].version.data)


cdef uint8_t assigned_by(const Entry *entry, const Exchange *x) noexcept:
    """Who gave it its version; enum Assigned."""
    if x.named:
        return ASSIGNED_NAMED
    if sticky_of(x.stream) == 0 or entry.by_request or entry.weight[entry.primary] == entry.total:
        return ASSIGNED_BY_CHANCE
    return ASSIGNED_BY_KEY


cdef double usual_of(const Entry *entry, const Exchange *x) noexcept:
    """The 95th percentile of the quickest version, so that none is excused by being slow itself."""
    cdef const Evidence *e
    cdef uint32_t caller = part_of(x.stream.budget), i
    cdef double own = 0, all = 0
    for i in range(entry.count):
        e = entry.versions[i].evidence
        own = quicker(own, e.usual[caller] if e != NULL else 0)
        all = quicker(all, e.usual_all if e != NULL else 0)
    return own if own else all


cdef inline double quicker(double a, double b) noexcept:
    return min(a, b) if a and b else a + b    # 0 is not known
