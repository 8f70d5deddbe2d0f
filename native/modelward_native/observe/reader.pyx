"""The supervisor's half of observations: the rings of all workers, read in one pass without waiting for any of them.

What a worker has written is checked before it is believed: sizes against the record, the record against the ring.
"""
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from modelward_native.observe.observed cimport *
from modelward_native.region.region cimport Named, Region

cdef extern from *:
    """
    #define mw_ring_seen(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
    #define mw_ring_told(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
    """
    uint64_t mw_ring_seen(const uint64_t *)
    void mw_ring_told(uint64_t *, uint64_t)

cdef bytes RING = b"observe\0ring"

MOST_ROWS = <int>MW_OBSERVED_ROWS
LONGEST_ID = <int>MW_OBSERVED_ID
BY_MODEL, BY_FALLBACK, REFUSED = <int>MW_BY_MODEL, <int>MW_BY_FALLBACK, <int>MW_REFUSED
CUT_INPUTS, CUT_ANSWER, CUT_SCORES = <int>MW_CUT_INPUTS, <int>MW_CUT_ANSWER, <int>MW_CUT_SCORES

# The structs of record.h as numpy takes them: ((name, format), ...).
REQUEST = (
    ("size", "u4"), ("kind", "u4"), ("source", "u4"), ("chance", "u4"), ("at", "i8"), ("took", "i8"), ("identity", "u8"),
    ("total_rows", "i8"), ("unasked", "u8"), ("score", "f8"), ("p_value", "f8"),
    ("evidence", f"({<int>MW_OBSERVED_EVIDENCE},)f4"), ("trace", "V16"), ("rows", "u4"),
    ("features", "u4"), ("columns", "u4"), ("id_size", "u4"), ("inputs_size", "u4"),
    ("answer_size", "u4"), ("caller", "u1"), ("traced", "u1"), ("answered_by", "u1"), ("reason", "u1"),
    ("fallback_reason", "u1"), ("flagged", "u1"), ("step", "u1"), ("cut", "u1"))
ROW = (("score", "f8"), ("p_value", "f8"), ("row", "u4"), ("flags", "u4"), ("cell", "i4"), ("unused", "u4"))
REQUEST_BYTES, ROW_BYTES = <int>sizeof(mw_observed), <int>sizeof(mw_observed_row)


def category_hash(*elements):
    """What stands for a category: of one BYTES element, or of all elements of a row where they share a column."""
    cdef uint64_t h = 0
    cdef bytes element
    for element in elements:
        h = mw_category_hash(h, <const uint8_t *><const char *>element, <uint32_t>len(element))
    return h


cdef int append(bytearray to, const uint8_t *data, uint64_t size) except -1:
    cdef Py_ssize_t before = PyByteArray_GET_SIZE(to)
    PyByteArray_Resize(to, before + <Py_ssize_t>size)
    memcpy(PyByteArray_AS_STRING(to) + before, data, size)
    return 0


cdef class Group:
    """Requests of one source in the order in which they ended. `requests`, `rows`, `features` (float32) and `categories`
    (uint64) are arrays, one behind the other as in REQUEST and ROW; the rest has one entry for each request."""
    cdef readonly bytes description
    cdef readonly bytearray requests, rows, features, categories
    cdef readonly list ids, inputs, answers
    cdef readonly uint32_t count, width, columns

    def __cinit__(self, bytes description, uint32_t width, uint32_t columns):
        self.description, self.width, self.columns = description, width, columns
        self.requests, self.rows, self.features, self.categories = bytearray(), bytearray(), bytearray(), bytearray()
        self.ids, self.inputs, self.answers = [], [], []

    cdef bint add(self, const uint8_t *record, uint32_t size) except -1:
        """False where the record does not say what it is."""
        cdef mw_observed head
        cdef uint64_t rows, features, categories, total
        memcpy(&head, record, sizeof(head))
        if head.features != self.width or head.columns != self.columns or head.rows > MW_OBSERVED_ROWS:
            return False
        rows = <uint64_t>head.rows * sizeof(mw_observed_row)
        features = <uint64_t>head.rows * head.features * sizeof(float)
        categories = <uint64_t>head.rows * head.columns * sizeof(uint64_t)
        total = (sizeof(head) + mw_padded(head.id_size) + rows + mw_padded(features) + categories
                 + mw_padded(head.inputs_size) + mw_padded(head.answer_size))
        if total > size:
            return False
        append(self.requests, <const uint8_t *>&head, sizeof(head))
        record += sizeof(head)
        self.ids.append((<const char *>record)[:head.id_size])
        record += mw_padded(head.id_size)
        append(self.rows, record, rows)
        append(self.features, record + rows, features)
        append(self.categories, record + rows + mw_padded(features), categories)
        record += rows + mw_padded(features) + categories
        self.inputs.append((<const char *>record)[:head.inputs_size])
        record += mw_padded(head.inputs_size)
        self.answers.append((<const char *>record)[:head.answer_size])
        self.count += 1
        return True


cdef class Reader:
    """Of all rings of a region. One at a time may read them."""
    cdef Region region
    cdef dict sources             # (slot, number) -> description
    cdef readonly uint64_t torn   # records that were not what they said

    def __cinit__(self, Region region not None):
        self.region = region
        self.sources = {}

    def read(self, uint64_t most):
        """Groups of what was observed since the last call, of at most so many bytes of each ring; the rest waits."""
        cdef const Named *entry = self.region.find(RING)
        cdef dict groups = {}
        cdef int slot
        if entry != NULL:
            for slot in range(<int>self.region.header.opened):
                self.read_ring(<mw_ring *>self.region.at(entry, slot), entry.size - mw_ring_size_of(0), slot, most, groups)
        return list(groups.values())

    def is_waiting(self, uint64_t much) -> bool:
        """Whether in some ring so many bytes wait to be read, or an eighth of it."""
        cdef const Named *entry = self.region.find(RING)
        cdef const mw_ring *ring
        cdef int slot
        if entry == NULL:
            return False
        for slot in range(<int>self.region.header.opened):
            ring = <const mw_ring *>self.region.at(entry, slot)
            if mw_ring_seen(&ring.written) - ring.read >= min(much, entry.size // 8):
                return True
        return False

    cdef int read_ring(self, mw_ring *ring, uint64_t room, int slot, uint64_t most, dict groups) except -1:
        cdef uint64_t end = mw_ring_seen(&ring.written), position = ring.read, start = position
        cdef uint64_t size_of_ring = room // 8 * 8
        cdef const uint8_t *record
        cdef uint32_t size, kind
        while position - start < most:
            record = mw_ring_next(ring, size_of_ring, end, &position, &size)
            if record == NULL:
                break
            memcpy(&kind, record + 4, 4)
            self.torn += not (self.take_source(record, size, slot) if kind == MW_OBSERVED_SOURCE else
                              self.take_request(record, size, slot, groups))
        mw_ring_told(&ring.read, position)
        return 0

    cdef bint take_source(self, const uint8_t *record, uint32_t size, int slot) except -1:
        cdef mw_observed_source head
        if size < sizeof(head):
            return False
        memcpy(&head, record, sizeof(head))
        if head.size > size - sizeof(head):
            return False
        # sources are numbered in order, and a worker that takes the slot begins again: what is older has ended
        if len(self.sources) > 4096:
            self.sources = {key: value for key, value in self.sources.items() if key[0] != slot}
        self.sources[slot, head.source] = (<const char *>record + sizeof(head))[:head.size]
        return True

    cdef bint take_request(self, const uint8_t *record, uint32_t size, int slot, dict groups) except -1:
        cdef mw_observed head
        cdef Group group
        if size < sizeof(head):
            return False
        memcpy(&head, record, sizeof(head))
        description = self.sources.get((slot, head.source))
        if description is None:
            return False
        group = groups.get(description)
        if group is None:
            group = groups[description] = Group(description, head.features, head.columns)
        return group.add(record, size)

    def stats(self):
        """(kept, dropped for want of room, kept without tensors that were too large) over all workers."""
        cdef const Named *entry = self.region.find(RING)
        cdef const mw_ring *ring
        cdef uint64_t kept = 0, dropped = 0, cut = 0
        cdef int slot
        if entry != NULL:
            for slot in range(<int>self.region.header.opened):
                ring = <const mw_ring *>self.region.at(entry, slot)
                kept += ring.kept
                dropped += ring.dropped
                cut += ring.cut
        return kept, dropped, cut
