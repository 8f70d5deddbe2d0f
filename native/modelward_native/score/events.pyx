"""Anomalous requests in a ring: written on the hot path without waiting, fetched once a second."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.score.profile cimport mw_score, mw_score_explain


cdef class Events:
    """A ring of EVENTS events."""

    cdef void note(self, Model *m, Exchange *x, const mw_score *score, int64_t row, int64_t now) noexcept:
        cdef Event *e = &self.ring[self.written % EVENTS]
        cdef size_t n = min(x.id.size, sizeof(e.id) - 1)
        self.written += 1
        e.model = m
        e.at = now
        e.score = score.score
        e.p_value = score.p_value
        e.flags = score.flags
        e.row = row
        if n:                     # an empty span may point nowhere
            memcpy(e.id, x.id.data, n)
        e.id[n] = 0
        mw_score_explain(m.profile, m.profile_worst, score, e.feature, e.deviation)

    def fetch(self) -> list:
        """Anomalous requests since the last call, at most EVENTS of them; the first item tells how many were lost."""
        cdef Event *e
        cdef uint64_t i, first = self.read
        if self.written - first > EVENTS:
            first = self.written - EVENTS
        found = [first - self.read]
        for i in range(first, self.written):
            e = &self.ring[i % EVENTS]
            found.append({
                "model": e.model.name.data[:e.model.name.size].decode(),
                "version": e.model.version.data[:e.model.version.size].decode(),
                "at_ns": e.at, "score": e.score, "p_value": e.p_value, "flags": e.flags, "row": e.row,
                "id": e.id.decode("utf-8", "replace"),
                "features": [(e.feature[k], e.deviation[k]) for k in range(3) if e.feature[k] >= 0]})
        self.read = self.written
        return found
