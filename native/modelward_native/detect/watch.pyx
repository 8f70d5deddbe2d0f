"""Memory and secrets of the evidence kernel, and the thread's work that turns a day's counts into tables."""
import time

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from modelward_native.detect.kernel cimport *
from modelward_native.detect.suspicion cimport mw_suspect_time
from modelward_native.limits.limit cimport MW_LEVEL_MODEL, mw_gcra_hash
from modelward_native.region.region cimport Named, Region
from modelward_native.score.profile cimport MW_SCORE_MAX_CELLS, MW_SCORE_PANEL, MW_SCORE_PROTOTYPES, mw_profile
from modelward_native.timer.clock cimport mw_now_ns

assert <int>MW_SCORE_PROTOTYPES == <int>MW_WATCH_OF_CELL and <int>MW_SCORE_MAX_CELLS == <int>MW_WATCH_CELLS

PHASES = ("measuring", "filling", "learning", "armed")    # by mw_watch_phase

cdef enum:
    MODELS = 64                   # and profiles, that the region has memory for: 8 MiB each
    UNUSED = 600                  # tenths of a second after which another one may take a place
    NAME = 128                    # bytes of a model's name that are told
cdef bytes CLOCK = b"watch\0clock"
cdef bytes NAMES = b"watch\0names"    # by place, NAME bytes each


def progress(Region region not None, int64_t now_ns) -> list:
    """Of each model and profile that processes need: its name; phase; rows of this phase so far; with how many it ends; with how
    many fewer it also does, and in how many seconds; cells that are locked; in how many seconds a common fault is over, and how
    many identities had it at once."""
    cdef const char *names
    cdef const mw_watch_shared *m
    cdef mw_watch_progress so_far
    cdef uint32_t now = mw_suspect_time(now_ns)
    cdef const mw_watch_fault *fault
    cdef int i, c, k
    found = []
    region.hold()
    try:
        for i in range(<int>MODELS):
            place = b"watch\0%d" % i
            if region.find(NAMES) == NULL or region.find(place) == NULL:
                break
            names = <const char *>region.common(NAMES, <size_t>(MODELS * NAME))
            m = <const mw_watch_shared *>region.common(place, sizeof(mw_watch_shared))
            if m.key == 0 or (now > m.used and now - m.used > UNUSED):
                continue
            so_far = mw_watch_progress_of(m)
            name = names[i * <int>NAME:(i + 1) * <int>NAME].rstrip(b"\0")
            locked = sum([m.region[c].locked > now for c in range(<int>MW_WATCH_CELLS)])
            fault = &m.faults.kind[0]
            for k in range(1, <int>MW_FAULT_KINDS):
                fault = &m.faults.kind[k] if m.faults.kind[k].until > fault.until else fault
            lasts = max(0, <int64_t>fault.until - now) / 10
            found.append((name.decode("utf-8", "replace"), PHASES[so_far.phase], so_far.rows, so_far.needed, so_far.fewer,
                          max(0, <int64_t>so_far.from_ - now) / 10, locked, lasts, fault.identities if lasts else 0))
    finally:
        region.let_go()
    return found


cdef inline uint64_t hash_of(Region region, const void *data, size_t size) noexcept:
    return mw_gcra_hash(<const uint64_t *>region.header.sip_key, MW_LEVEL_MODEL, data, size)


cdef Watcher watcher_of(Region region, str name, const mw_profile *profile):
    cdef Watcher self = Watcher.__new__(Watcher)
    cdef mw_watch *w = &self.watching.kernel
    cdef int32_t cells = min(profile.cells, <int32_t>MW_WATCH_CELLS)
    cdef int32_t dimensions = min(profile.dimensions, <int32_t>MW_WATCH_FEATURES), c, j
    cdef size_t scale = profile.features * sizeof(double)
    cdef uint64_t key
    cdef float *center
    self.region, self.name = region, name
    text = name.encode()
    key = hash_of(region, <const char *>text, len(text))
    key ^= hash_of(region, profile.mean_of_cell, <size_t>profile.padded_cells * profile.dimensions * sizeof(float))
    key ^= hash_of(region, profile.mean, scale) + hash_of(region, profile.inverse_scale, scale)
    w.secret = hash_of(region, &key, sizeof(key))
    w.features = profile.features
    self.feature = <int32_t *>malloc(<size_t>MW_WATCH_FEATURES * sizeof(int32_t))
    self.projection = <float *>malloc(<size_t>(MW_WATCH_FEATURES * MW_WATCH_PROJECTIONS) * sizeof(float))
    center = <float *>malloc(<size_t>(MW_WATCH_CELLS * MW_WATCH_FEATURES) * sizeof(float))
    if self.feature == NULL or self.projection == NULL or center == NULL:
        free(center)
        raise MemoryError
    mw_watch_draw(w, self.feature, self.projection)
    for c in range(cells):        # of panels, [N / 64][d][64]
        for j in range(dimensions):
            center[c * dimensions + j] = profile.mean_of_cell[
                (<size_t>(c // <int>MW_SCORE_PANEL) * profile.dimensions + j) * <size_t>MW_SCORE_PANEL + c % <int>MW_SCORE_PANEL]
    mw_watch_group_cells(center, cells, dimensions, self.group)
    free(center)
    w.group = self.group
    self.take_memory(key | 1, mw_now_ns())
    mw_watch_new_day(w, day_of(&self.watching, mw_now_ns()))
    return self


cdef class Watcher:
    """Of one version of a model; versions with the same profile, and all processes of a region, share what is learnt."""

    def __dealloc__(self):
        free(self.feature)
        free(self.projection)

    cdef int take_memory(self, uint64_t key, int64_t now_ns) except -1:
        """The key's place in the region, a new one if need be."""
        cdef uint32_t now = mw_suspect_time(now_ns)
        cdef mw_watch_shared *shared
        cdef mw_watch_shared *unused = NULL
        cdef int64_t *clock
        cdef Named *entry
        cdef char *names
        cdef bytes text = self.name.encode()[:<int>NAME]
        self.region.hold()
        try:
            clock = <int64_t *>self.region.common(CLOCK, sizeof(int64_t))
            if clock[0] == 0:
                clock[0] = time.time_ns() - now_ns
            self.watching.wall_ns = clock[0]
            names = <char *>self.region.common(NAMES, <size_t>(MODELS * NAME))
            for i in range(<int>MODELS):
                name = b"watch\0%d" % i
                entry = self.region.find(name)
                if entry == NULL and unused != NULL:
                    break
                shared = <mw_watch_shared *>self.region.common(name, sizeof(mw_watch_shared))
                if shared.key == key:
                    self.watching.kernel.shared = shared
                    shared.used = now
                    return 0
                if entry == NULL or now - shared.used > UNUSED:
                    unused, place = shared, i
                if entry == NULL:
                    break
            if unused == NULL:
                raise MemoryError(f"{MODELS} models and profiles are watched already")
            memset(unused, 0, sizeof(mw_watch_shared))
            memset(&names[place * <int>NAME], 0, NAME)
            memcpy(&names[place * <int>NAME], <const char *>text, len(text))
            unused.key, unused.began, unused.used = key, now, now
            self.watching.kernel.shared = unused
        finally:
            self.region.let_go()
        return 0

    @property
    def phase(self) -> str:
        """measuring, filling, learning: what is sent teaches what is usual; armed: all of it is evidence."""
        return PHASES[min(self.watching.kernel.shared.phase, <uint32_t>MW_WATCH_ARMED)]

    def is_due(self, int64_t now_ns) -> bool:
        """Whether `learn` is to be called, which this process has then claimed. To be asked every few seconds: memory that no
        process asks for is given away after a minute."""
        self.watching.kernel.shared.used = mw_suspect_time(now_ns)
        return mw_watch_claim(&self.watching.kernel, mw_suspect_time(now_ns))

    def learn(self, int64_t now_ns):
        """From the end of a phase to the next: in a thread, for it takes up to a second. Needs no GIL."""
        cdef uint64_t *room = <uint64_t *>malloc(<size_t>MW_WATCH_ROOM * sizeof(uint64_t))
        if room == NULL:
            raise MemoryError
        with nogil:
            mw_watch_learn(&self.watching.kernel, mw_suspect_time(now_ns), room)
        free(room)
