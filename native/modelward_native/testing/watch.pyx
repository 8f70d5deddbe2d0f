"""The evidence kernel by itself, over rows that Python gives it: for tests and benchmarks."""
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import numpy as np

from modelward_native.detect.kernel cimport *
from modelward_native.detect.suspicion cimport (
    MW_EVIDENCE_MOST, MW_NAT, MW_OWN, MW_SIGNALS, Suspicion, mw_suspect, mw_suspect_find, mw_suspect_get, mw_suspect_key,
    mw_suspect_prefetch)
from modelward_native.detect.watch cimport Watcher
from modelward_native.timer.clock cimport mw_now_ns

CELLS, PLACES, GROUPS = MW_WATCH_CELLS, MW_WATCH_PLACES, MW_WATCH_GROUPS
RESOLUTIONS, SAMPLE = MW_WATCH_RESOLUTIONS, MW_WATCH_SAMPLE
PHASES = ("measuring", "filling", "learning", "armed")    # by mw_watch_phase

cdef enum:
    AHEAD = 16                    # rows between a row's first look and its answer, where cost is measured


cdef class Watch:
    """One model's. centers: (cells, features); times are tenths of a second."""

    cdef mw_watch watch
    cdef mw_watch_shared *shared
    cdef uint8_t[<int>MW_WATCH_CELLS] group
    cdef object projection, feature
    cdef readonly Suspicion suspicion

    def __cinit__(self, Suspicion suspicion not None, centers, uint64_t secret=1):
        cdef float[:, ::1] at = np.ascontiguousarray(centers, np.float32)
        cdef float[:, ::1] projection = np.zeros((<int>MW_WATCH_FEATURES, <int>MW_WATCH_PROJECTIONS), np.float32)
        cdef int32_t[::1] feature = np.zeros(<int>MW_WATCH_FEATURES, np.int32)
        self.projection, self.feature, self.suspicion = projection.base, feature.base, suspicion
        self.shared = <mw_watch_shared *>calloc(1, sizeof(mw_watch_shared))
        if self.shared == NULL:
            raise MemoryError
        self.watch.shared = self.shared
        self.watch.secret = secret
        self.watch.features = <int32_t>at.shape[1]
        mw_watch_draw(&self.watch, &feature[0], &projection[0, 0])
        some = np.ascontiguousarray(at.base[:, :<int>MW_WATCH_FEATURES])
        at = some
        mw_watch_group_cells(&at[0, 0], <int32_t>at.shape[0], <int32_t>at.shape[1], self.group)
        self.watch.group = self.group

    def __dealloc__(self):
        free(self.shared)

    def run(self, rows, at, p, who, labels, margins, times, uint32_t day=1, float weight=1, uint32_t block_for=6000,
            float near_most=MW_EVIDENCE_MOST, int32_t columns=0, prototypes=None, bint acted=True):
        """Rows one after the other, each with its answer: (steps, withheld, first labels, repeated), by row. prototypes: the
        nearest, 32 a cell; by default the first of the row's cell."""
        cdef float[:, ::1] r = np.ascontiguousarray(rows, np.float32)
        cdef int32_t[::1] cell = np.ascontiguousarray(at, np.int32)
        cdef int32_t[::1] nearest = np.ascontiguousarray(32 * cell.base if prototypes is None else prototypes, np.int32)
        cdef double[::1] p_value = np.ascontiguousarray(p, np.float64)
        cdef uint64_t[::1] name = np.ascontiguousarray(who, np.uint64)
        cdef int32_t[::1] label = np.ascontiguousarray(labels, np.int32)
        cdef float[::1] margin = np.ascontiguousarray(margins, np.float32)
        cdef uint32_t[::1] time = np.ascontiguousarray(times, np.uint32)
        cdef Py_ssize_t i, n = r.shape[0]
        cdef int8_t[::1] step = np.zeros(n, np.int8)
        cdef uint8_t[::1] withheld = np.zeros(n, np.uint8), repeated = np.zeros(n, np.uint8)
        cdef int32_t[::1] first = np.zeros(n, np.int32)
        cdef mw_watched watched
        cdef mw_watch_answer_of answer
        cdef mw_watch_seen seen
        cdef mw_suspect *s
        cdef uint64_t key
        mw_watch_new_day(&self.watch, day)
        answer.weight, answer.near_most, answer.acted = weight, near_most, acted
        self.shared.began = self.shared.began or time[0]
        for i in range(n):
            key = mw_suspect_key(name[i], 1)
            s = mw_suspect_get(&self.suspicion.table, key, <int64_t>time[i] * 100000000)
            mw_watch_row(&self.watch, &r[i, 0], columns, cell[i], nearest[i], p_value[i], key, &watched)
            answer.label, answer.margin = label[i], margin[i]
            mw_watch_answer(&self.watch, s, key, &watched, &answer, day, time[i], block_for, &seen)
            step[i], withheld[i], first[i], repeated[i] = <int8_t><int>seen.step, seen.withheld, seen.first_label, seen.repeated
            if i % 64 == 0 and mw_watch_claim(&self.watch, time[i]):
                self.learn(time[i])
        return step.base, withheld.base, first.base, repeated.base

    def learn(self, uint32_t now):
        cdef uint64_t[::1] room = np.zeros(<int>MW_WATCH_ROOM, np.uint64)
        mw_watch_learn(&self.watch, now, &room[0])

    def forget(self):
        """The memory of rows, of cells and of today's counts: what was learnt stays."""
        memset(self.shared.exact, 0, sizeof(self.shared.exact))
        memset(self.shared.piece, 0, sizeof(self.shared.piece))
        memset(self.shared.region, 0, sizeof(self.shared.region))
        memset(&self.shared.faults, 0, sizeof(self.shared.faults))
        memset(&self.shared.counts, 0, sizeof(self.shared.counts))

    def pieces(self, float[:, ::1] rows, int32_t[::1] at, uint64_t name=0, uint32_t day=1):
        """Hashes of each row's pieces, (n, resolutions); zeros while widths are not known."""
        cdef mw_watched watched
        cdef Py_ssize_t i, r
        mw_watch_new_day(&self.watch, day)
        found = np.zeros((rows.shape[0], <int>MW_WATCH_RESOLUTIONS), np.uint64)
        cdef uint64_t[:, ::1] to = found
        for i in range(rows.shape[0]):
            mw_watch_row(&self.watch, &rows[i, 0], 0, at[i], 32 * at[i], 0.5, mw_suspect_key(name, 1), &watched)
            for r in range(<int>MW_WATCH_RESOLUTIONS):
                to[i, r] = watched.piece[r] if watched.hashed else 0
        return found

    def record(self, uint64_t name):
        """evidence: nats, two by signal; own, distinct, spent, until, strikes; None where there is none."""
        cdef const mw_suspect *s = mw_suspect_find(&self.suspicion.table, mw_suspect_key(name, 1))
        if s == NULL:
            return None
        return {"evidence": [s.evidence[i] / <double>MW_NAT for i in range(2 * <int>MW_SIGNALS)], "own": s.own / <double>MW_OWN,
                "distinct": s.distinct, "spent": s.spent, "until": s.until, "strikes": s.strikes, "step": s.step}

    def key(self, uint64_t name):
        return mw_suspect_key(name, 1)

    @property
    def phase(self):
        return PHASES[self.shared.phase]

    @property
    def taken(self):
        """The features that are projected, where not all are."""
        return np.asarray(self.feature)

    @property
    def groups(self):
        return np.array([self.group[i] for i in range(<int>MW_WATCH_CELLS)])

    @property
    def learnt(self):
        """(inverse widths, inverse radii of cells, margin edges)."""
        return (np.array([self.shared.inverse_width[i] for i in range(<int>MW_WATCH_RESOLUTIONS)]),
                np.array([self.shared.inverse_radius[i] for i in range(<int>MW_WATCH_CELLS)]),
                np.array([self.shared.margin_edge[i] for i in range(<int>MW_WATCH_EDGES)]))

    @property
    def tables(self):
        """What is read now: (s, near, walk, surprise, flip_hot, surge)."""
        cdef mw_watch_tables *t = &self.shared.tables[self.shared.table]
        s = np.zeros((<int>MW_WATCH_PLACES + 1, <int>MW_WATCH_P_BINS), np.uint8)
        near = np.zeros((<int>MW_WATCH_CELLS, <int>MW_WATCH_RESOLUTIONS, <int>MW_WATCH_NEAR, 3), np.int8)
        walk = np.zeros((<int>MW_WATCH_CELLS, <int>MW_WATCH_WALK, 4), np.int8)
        surprise = np.zeros((<int>MW_WATCH_CELLS, <int>MW_WATCH_RESOLUTIONS, <int>MW_WATCH_NEAR), np.uint8)
        hot = np.zeros((<int>MW_WATCH_RESOLUTIONS, <int>MW_WATCH_GROUPS), np.uint8)
        for c in range(<int>MW_WATCH_PLACES + 1):
            s[c] = [t.s[c][b] for b in range(<int>MW_WATCH_P_BINS)]
        for c in range(<int>MW_WATCH_CELLS):
            for r in range(<int>MW_WATCH_RESOLUTIONS):
                for j in range(<int>MW_WATCH_NEAR):
                    near[c, r, j] = [t.cell[c].near[r][j][k] for k in range(3)]
                    surprise[c, r, j] = t.cell[c].surprise[r][j]
            for j in range(<int>MW_WATCH_WALK):
                walk[c, j] = [t.cell[c].walk[j][k] for k in range(4)]
        for r in range(<int>MW_WATCH_RESOLUTIONS):
            hot[r] = [t.flip_hot[r][g] for g in range(<int>MW_WATCH_GROUPS)]
        surge = np.array([[t.surge[c][k] for k in range(2)] for c in range(<int>MW_WATCH_CELLS)], np.float32)
        return s, near, walk, surprise, hot, surge

    @property
    def counts(self):
        """Today's: (p, near, walk, flips, p of places)."""
        cdef mw_watch_counts *c = &self.shared.counts
        p = [[c.p[i][b] for b in range(<int>MW_WATCH_P_BINS)] for i in range(<int>MW_WATCH_CELLS + 1)]
        near = [[[c.near[r][i][j] for j in range(<int>MW_WATCH_NEAR)] for i in range(<int>MW_WATCH_CELLS)]
                for r in range(<int>MW_WATCH_RESOLUTIONS)]
        walk = [[c.walk[i][j] for j in range(<int>MW_WATCH_WALK)] for i in range(<int>MW_WATCH_CELLS)]
        flips = [[[c.flips[r][g][u] for u in range(<int>MW_WATCH_FLIPS)] for g in range(<int>MW_WATCH_GROUPS)]
                 for r in range(<int>MW_WATCH_RESOLUTIONS)]
        of_place = [[c.p_of_place[i][b] for b in range(<int>MW_WATCH_P_BINS)] for i in range(<int>MW_WATCH_PLACES)]
        return np.array(p), np.array(near), np.array(walk), np.array(flips), np.array(of_place)

    @property
    def regions(self):
        """By cell: (evidence (4,), locked until)."""
        return [([self.shared.region[c].evidence[k] for k in range(4)], self.shared.region[c].locked)
                for c in range(<int>MW_WATCH_CELLS)]

    @property
    def faults(self):
        """By kind (implausible, very unlike): (until, identities)."""
        return [(self.shared.faults.kind[k].until, self.shared.faults.kind[k].identities) for k in range(<int>MW_FAULT_KINDS)]

    def measure(self, float[:, ::1] rows, int32_t[::1] at, uint64_t[::1] names, int64_t rounds):
        """Nanoseconds for a row and its answer, AHEAD rows in flight, of one identity after the other."""
        cdef mw_watched[AHEAD] watched
        cdef uint64_t[AHEAD] keys
        cdef mw_watch_answer_of answer
        cdef mw_watch_seen seen
        cdef mw_suspect *s
        cdef int64_t i, row, start
        cdef uint32_t now = 100000000
        answer.label, answer.margin, answer.weight, answer.near_most, answer.acted = 0, 0.5, 1, MW_EVIDENCE_MOST, True
        mw_watch_new_day(&self.watch, 1)
        start = mw_now_ns()
        with nogil:
            for i in range(rounds):
                if i >= AHEAD:
                    s = mw_suspect_get(&self.suspicion.table, keys[i % AHEAD], <int64_t>now * 100000000)
                    if s != NULL:
                        mw_watch_answer(&self.watch, s, keys[i % AHEAD], &watched[i % AHEAD], &answer, 1, now, 6000, &seen)
                row = i % rows.shape[0]
                keys[i % AHEAD] = mw_suspect_key(names[i % names.shape[0]], 1)
                mw_suspect_prefetch(&self.suspicion.table, keys[i % AHEAD])
                mw_watch_row(&self.watch, &rows[row, 0], 0, at[row], 32 * at[row], 0.5, keys[i % AHEAD], &watched[i % AHEAD])
                now += i % 500 == 0
        return (mw_now_ns() - start) / <double>rounds


def lock_cells(Watcher watcher not None, str phase, uint32_t tenths):
    """Of what a server has learnt: this phase, and all cells locked for so long."""
    cdef mw_watch_shared *shared = watcher.watching.kernel.shared
    shared.phase = PHASES.index(phase)
    for c in range(<int>MW_WATCH_CELLS):
        shared.region[c].locked = <uint32_t>(mw_now_ns() // 100000000) + tenths
