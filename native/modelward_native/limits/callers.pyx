"""Who is over which limit, who spends most, who is denied, by name: for operators and the audit trail, never as metric labels."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, strlen

from modelward_native.wire.types cimport Conn, Stream
from modelward_native.access.identity cimport Identity
from modelward_native.limits.limit cimport MW_LEVEL_IDENTITY, MW_LEVEL_PEER, mw_gcra_hash, mw_level
from modelward_native.region.region cimport Named, Region

cdef extern from "<arpa/inet.h>" nogil:
    const char *inet_ntop(int, const void *, char *, uint32_t)
    enum:
        AF_INET
        AF_INET6

cdef enum Kind:
    KIND_ADDRESS = 0
    KIND_PROXY                    # who came through a trusted proxy, of which the address is
    KIND_CERTIFICATE
    KIND_TOKEN
    KIND_KEY

KINDS = ("address", "behind proxy", "certificate", "token", "key")
LEVELS = ("peer", "identity", "model", "total")
cdef bytes BLOCK = b"callers"


cdef void name_caller(mw_caller *entry, const Stream *s, bint by_address) noexcept:
    cdef const Identity *identity = s.caller
    if not by_address and identity != NULL and identity.name_size:
        entry.kind = KIND_CERTIFICATE if identity.kind[0] == 99 else KIND_TOKEN if identity.kind[0] == 116 else KIND_KEY
        entry.name_size = <unsigned char>min(identity.name_size, <size_t>MW_CALLER_NAME)
        memcpy(entry.name, identity.name, entry.name_size)
        return
    name_address(entry, s.conn)
    if s.peer != s.conn.peer:
        entry.kind = KIND_PROXY


cdef void name_address(mw_caller *entry, const Conn *c) noexcept:
    cdef const char *text = NULL
    cdef bint mapped
    cdef int i
    entry.kind = KIND_ADDRESS
    mapped = c.address[10] == 0xff and c.address[11] == 0xff
    for i in range(10):
        mapped = mapped and c.address[i] == 0
    text = inet_ntop(AF_INET if mapped else AF_INET6, &c.address[12 if mapped else 0], entry.name, MW_CALLER_NAME)
    if text == NULL or (not mapped and strlen(text) == 2):
        memcpy(entry.name, b"unix:", 6)    # no address: "::"
    entry.name_size = <unsigned char>strlen(entry.name)


cdef class Callers:
    """Of one process."""

    def __cinit__(self, Region region not None):
        self.region = region
        self.tables = <Tables *>region.block(BLOCK, sizeof(Tables))

    cdef void note_refusal(self, const Stream *s, mw_level level, int64_t now) noexcept:
        cdef uint64_t times
        cdef bint by_address = level == MW_LEVEL_PEER
        cdef mw_caller *entry = mw_callers_note(&self.tables.refused, (s.peer if by_address else s.budget) | 1, 1, &times)
        if entry == NULL:
            return
        if entry.name_size == 0:
            name_caller(entry, s, by_address)
        entry.refused[<int>level] += times
        entry.refused_at = now

    cdef void note_spent(self, const Stream *s, uint64_t requests, uint64_t ns) noexcept:
        cdef uint64_t times
        cdef mw_caller *entry = mw_callers_note(&self.tables.spending, s.budget | 1, ns, &times)
        if entry == NULL:
            return
        if entry.name_size == 0:
            name_caller(entry, s, False)
        entry.requests += requests * times
        entry.spent_ns += ns * times

    cdef void note_denied(self, const Stream *s) noexcept:
        # the budget of a caller that is not known yet is its peer's
        count(&self.tables.denied, s.caller.budget if s.caller != NULL and s.caller.name_size else s.budget, s, s.conn)

    cdef void note_anomaly(self, const Stream *s) noexcept:
        count(&self.tables.anomalous, s.budget, s, s.conn)

    cdef void note_closed(self, const Conn *c, uint64_t peer) noexcept:
        count(&self.tables.closed, peer, NULL, c)


cdef void count(mw_callers *table, uint64_t key, const Stream *s, const Conn *c) noexcept:
    """One more of a caller; where there is no stream, of a connection's peer."""
    cdef uint64_t times
    cdef mw_caller *entry = mw_callers_note(table, key | 1, 1, &times)
    if entry == NULL:
        return
    if entry.name_size == 0:
        if s != NULL:
            name_caller(entry, s, False)
        else:
            name_address(entry, c)
    entry.requests += times


cdef list rows_of(const mw_callers *table):
    cdef mw_caller entry
    cdef uint64_t key
    cdef uint32_t i
    rows = []
    for i in range(<uint32_t>MW_CALLERS):
        if mw_callers_read(table, i, &entry, &key):
            name = (<bytes>entry.name[:entry.name_size]).decode("ascii", "replace")
            rows.append((key, KINDS[min(entry.kind, <unsigned char>KIND_KEY)], name, tuple(entry.refused[j] for j in range(4)),
                         entry.requests, entry.spent_ns, entry.refused_at))
    return rows


def read(Region region not None) -> tuple[list, list]:
    """Of all processes: rows of those who were refused, and of those who spend; one for each process that knows the caller.

    A row: (key, kind, name, refusals by level, requests, ns of backend time, ns when it was last refused). Names are as a header
    tells them: percent-encoded.
    """
    cdef Named *entry = region.find(BLOCK)
    cdef Tables *tables
    cdef int slot
    refused, spending = [], []
    if entry != NULL:
        for slot in range(<int>region.header.opened):
            tables = <Tables *>(<char *>region.slot_at(slot) + entry.offset)
            refused += rows_of(&tables.refused)
            spending += rows_of(&tables.spending)
    return refused, spending


def observed_key(Region region not None, str name not None) -> int:
    """By which observations know the identity of this name, whatever proves it."""
    text = b"identity " + name.encode()
    return mw_gcra_hash(<const uint64_t *>region.header.sticky_key, MW_LEVEL_IDENTITY, <const char *>text, len(text))


def unwanted(Region region not None) -> tuple[list, list, list]:
    """Likewise of who was denied, who sent anomalous requests, and whose connections were refused or closed. A row's requests are
    how often."""
    cdef Named *entry = region.find(BLOCK)
    cdef Tables *tables
    cdef int slot
    denied, anomalous, closed = [], [], []
    if entry != NULL:
        for slot in range(<int>region.header.opened):
            tables = <Tables *>(<char *>region.slot_at(slot) + entry.offset)
            denied += rows_of(&tables.denied)
            anomalous += rows_of(&tables.anomalous)
            closed += rows_of(&tables.closed)
    return denied, anomalous, closed
