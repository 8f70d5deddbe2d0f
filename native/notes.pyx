"""What a process runs, noted where its supervisor finds it should the process die of it."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from dataclasses import dataclass

from native.region cimport Named, Region
from native.session cimport MW_NOTE_DIGEST, MW_NOTE_DIMS, MW_NOTE_NAME, MW_NOTE_VERSION, mw_note

cdef enum:
    NOTES = 512                   # of one process: engines, and runs of theirs beside requests

BLOCK = b"runs"


@dataclass(frozen=True)
class Run:
    """A run that was under way when its process died. dims: of all inputs, one input after the other.

    signal: that its thread got, 0 where it was another thread's. loading: it was a load of the version or a run of its
    canary; the digest is that of file and canary.
    """

    name: str
    version: str
    digest: str
    dims: tuple
    signal: int
    loading: bool = False


cdef mw_note *take_note(Region region, str name, str version, str digest, bint loading=False) except? NULL:
    cdef mw_note *notes
    cdef int i
    cdef bytes text
    if region is None or region.fd < 0 or region.slot < 0:
        return NULL
    notes = <mw_note *>region.block(BLOCK, NOTES * sizeof(mw_note))
    for i in range(<int>NOTES):
        if notes[i].used:
            continue
        memset(&notes[i], 0, sizeof(mw_note))
        text = name.encode()[:MW_NOTE_NAME - 1]
        memcpy(notes[i].name, <const char *>text, len(text))
        text = version.encode()[:MW_NOTE_VERSION - 1]
        memcpy(notes[i].version, <const char *>text, len(text))
        text = digest.encode()[:MW_NOTE_DIGEST - 1]
        memcpy(notes[i].digest, <const char *>text, len(text))
        notes[i].loading = loading
        notes[i].used = 1
        return &notes[i]
    return NULL


cdef void drop_note(mw_note *note) noexcept:
    if note != NULL:
        note.used = 0


def take_runs(Region region not None, int slot):
    """What the process of a slot was running when it died. Its notes are gone then, so that another can have the slot."""
    cdef Named *entry = region.find(BLOCK)
    cdef mw_note *notes
    cdef mw_note *note
    cdef int i
    cdef uint32_t k
    runs = []
    region.check(slot)
    if entry == NULL:
        return runs
    notes = <mw_note *>(<uint8_t *>region.slot_at(slot) + entry.offset)
    for i in range(<int>NOTES):
        note = &notes[i]
        if note.used and note.dims:
            dims = tuple([note.dim[k] for k in range(min(note.dims - 1, <uint32_t>MW_NOTE_DIMS))])
            runs.append(Run(text_of(note.name, MW_NOTE_NAME), text_of(note.version, MW_NOTE_VERSION),
                            text_of(note.digest, MW_NOTE_DIGEST), dims, note.signal, bool(note.loading)))
        if note.used:
            memset(note, 0, sizeof(mw_note))
    return runs


cdef str text_of(const char *text, int size):
    return (<bytes>text[:size]).split(b"\0", 1)[0].decode("utf-8", "replace")
