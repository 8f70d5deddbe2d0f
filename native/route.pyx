"""Which model answers: names looked up in a sorted table, versions by their text."""
from libc.stdint cimport int64_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from native.model cimport Model
from native.oip cimport shown
from native.served cimport Served
from native.tensor cimport mw_span
from native.verdict cimport REASON_UNKNOWN_MODEL, REASON_UNKNOWN_VERSION, VERDICT_TEXT, Verdict

cdef enum:
    SHOWN = 65                    # bytes of an unknown name that are looked at: one more than the longest that is near

cdef int64_t SUGGESTION_NS = 10000000


cdef int order(mw_span a, mw_span b) noexcept:
    cdef size_t common = min(a.size, b.size)
    cdef int c = memcmp(a.data, b.data, common) if common else 0    # an empty span may point nowhere
    if c:
        return c
    return (a.size > b.size) - (a.size < b.size)


cdef class Directory:
    """Served models by name. Takes a list with, for each model, the list of its Served versions, ascending; the last answers
    requests that name no version. Never changed: another takes its place (native.pipeline.Server.serve).

    explain: callable that makes an unknown name into a message with near names; None for a message without.
    """

    def __cinit__(self, list models):
        cdef Entry *entry
        cdef uint32_t i
        self.served = []
        self.entries = <Entry *>calloc(max(len(models), 1), sizeof(Entry))
        if self.entries == NULL:
            raise MemoryError
        for versions in sorted(models, key=lambda versions: versions[0].name.encode()):
            entry = &self.entries[self.count]
            entry.versions = <Model **>calloc(len(versions), sizeof(void *))
            if entry.versions == NULL:
                raise MemoryError
            self.count += 1
            for i, version in enumerate(versions):
                entry.versions[i] = &(<Served>version).model
                self.served.append(version)
            entry.count = len(versions)
            entry.name = entry.versions[0].name

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.count):
            free(self.entries[i].versions)
        free(self.entries)

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

    cdef Model *version(self, Entry *entry, mw_span version) noexcept:
        cdef uint32_t i
        for i in range(entry.count):
            if entry.versions[i].version.size == version.size and memcmp(
                    entry.versions[i].version.data, version.data, version.size) == 0:
                return entry.versions[i]
        return NULL

    cdef void unknown_model(self, mw_span name, int64_t now, Verdict *v) noexcept:
        cdef bytes text
        v.reason = REASON_UNKNOWN_MODEL
        v.retry_ns = 0
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
        v.reason = REASON_UNKNOWN_VERSION
        v.retry_ns = 0
        n = snprintf(v.text, VERDICT_TEXT, "model '%.*s' has no version '%.*s'; it has:", shown(entry.name),
                     <const char *>entry.name.data, shown(version), <const char *>version.data)
        for i in range(min(entry.count, <uint32_t>8)):
            n += snprintf(v.text + n, VERDICT_TEXT - n, " %.*s", <int>min(entry.versions[i].version.size, <size_t>20),
                          <const char *>entry.versions[i].version.data)
