"""What a process runs, noted where its supervisor finds it should the process die of it."""
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

import logging
from dataclasses import dataclass

from modelward_native.region.region cimport Named, Region
from modelward_native.backend.note cimport (
    MW_NOTE_CALLERS, MW_NOTE_DIGEST, MW_NOTE_DIMS, MW_NOTE_NAME, MW_NOTE_VERSION, mw_death, mw_note
)

cdef enum:
    NOTES = 256                   # of one block; a process has as many blocks as it needs

cdef bytes DEATH = b"death"       # the name of a process's block

log = logging.getLogger("modelward.server")


@dataclass(frozen=True)
class Run:
    """A run that was in flight when its process died. dims: of all inputs, one input after the other.

    -1 is any number of rows. signal: that its thread got, 0 where it was another thread's. pooled: a thread got it that works
    for all runs of its session. callers: the budgets of those whose requests it was for; none where it was no request's.
    more: there were others. loading: it was a load of the version or a run of its canary; the digest is that of file and
    canary.
    """

    name: str
    version: str
    digest: str
    dims: tuple
    signal: int
    loading: bool = False
    callers: tuple = ()
    more: bool = False
    pooled: bool = False


cdef bytes block_name(int number):
    return b"runs %d" % number


cdef mw_death *death_note(Region region) except NULL:
    return <mw_death *>region.block(DEATH, sizeof(mw_death))


cdef mw_note *take_note(Region region, str name, str version, str digest, bint loading=False) except? NULL:
    cdef mw_note *note
    cdef bytes text
    if region is None or region.fd < 0 or region.slot < 0:
        return NULL
    try:
        note = free_note(region)
    except MemoryError as error:
        log.warning("model %s version %s: should a worker die of a run of it, that is not known: %s", name, version, error)
        return NULL
    memset(note, 0, sizeof(mw_note))
    text = name.encode()[:MW_NOTE_NAME - 1]
    memcpy(note.name, <const char *>text, len(text))
    text = version.encode()[:MW_NOTE_VERSION - 1]
    memcpy(note.version, <const char *>text, len(text))
    text = digest.encode()[:MW_NOTE_DIGEST - 1]
    memcpy(note.digest, <const char *>text, len(text))
    note.loading = loading
    note.used = 1
    return note


cdef mw_note *free_note(Region region) except NULL:
    """MemoryError where the region has no room for another block."""
    cdef mw_note *notes
    cdef int number = 0, i
    while True:
        notes = <mw_note *>region.block(block_name(number), NOTES * sizeof(mw_note))
        for i in range(<int>NOTES):
            if not notes[i].used:
                return &notes[i]
        number += 1


cdef void drop_note(mw_note *note) noexcept:
    if note != NULL:
        note.used = 0


def take_runs(Region region not None, int slot):
    """What the process of a slot was running when it died. Its notes are gone then, so that another can have the slot."""
    cdef Named *entry
    cdef mw_note *notes
    cdef mw_death *death = NULL
    cdef int number = 0, i
    runs = []
    region.check(slot)
    entry = region.find(DEATH)
    if entry != NULL:
        death = <mw_death *>region.at(entry, slot)
    while True:
        entry = region.find(block_name(number))
        if entry == NULL:
            break
        notes = <mw_note *>region.at(entry, slot)
        for i in range(<int>NOTES):
            if notes[i].used and notes[i].dims:
                runs.append(run_of(&notes[i], death))
            if notes[i].used:
                memset(&notes[i], 0, sizeof(mw_note))
        number += 1
    if death != NULL:
        memset(death, 0, sizeof(mw_death))
    return runs


cdef object run_of(const mw_note *note, const mw_death *death):
    cdef bint pooled = death != NULL and death.pool != 0 and death.pool == note.pool and note.signal == 0
    cdef uint32_t k
    dims = tuple([note.dim[k] for k in range(min(note.dims - 1, <uint32_t>MW_NOTE_DIMS))])
    callers = tuple([note.caller[k] for k in range(min(note.callers, <uint32_t>MW_NOTE_CALLERS))])
    return Run(text_of(note.name, MW_NOTE_NAME), text_of(note.version, MW_NOTE_VERSION), text_of(note.digest, MW_NOTE_DIGEST),
               dims, death.signal if pooled else note.signal, bool(note.loading), callers,
               note.callers > <uint32_t>MW_NOTE_CALLERS, pooled)


cdef str text_of(const char *text, int size):
    return (<bytes>text[:size]).split(b"\0", 1)[0].decode("utf-8", "replace")
