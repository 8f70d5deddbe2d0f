"""ONNX Runtime in this process: it is loaded, sessions are opened, and what the process dies of is noted.

Every extension links its own copy of the kernels. What they keep for a process or a thread (session.c, note.c, budget.c) is
in this one: sessions are opened here, so that their runs happen here (mw_session.execute).
"""
import os

from modelward_native.backend.note cimport mw_death, mw_note
from modelward_native.backend.notes cimport death_note, drop_note, take_note
from modelward_native.backend.session cimport MW_ERROR_TEXT, mw_session
from modelward_native.region.region cimport Region

cdef extern from "session.h" nogil:
    const char *mw_ort_load(const char *path)
    const char *mw_ort_version()
    mw_session *mw_session_open(const void *bytes, size_t size, const char *path, int threads, char *error)

cdef extern from "note.h" nogil:
    void mw_note_deaths(mw_death *death)
    void mw_note_work(mw_note *note)


def load_runtime(path: str) -> str:
    """Loads libonnxruntime once per process; its release. Raises ImportError with the reason."""
    cdef const char *error = mw_ort_load(os.fsencode(path))
    if error != NULL:
        raise ImportError(f"{path}: {error.decode('utf-8', 'replace')}")
    return mw_ort_version().decode()


cdef mw_session *open_session(object model, int threads) except NULL:
    cdef char error[MW_ERROR_TEXT]
    cdef bytes content = model if isinstance(model, bytes) else b""
    cdef bytes path = os.fsencode(model) if isinstance(model, str) else b""
    cdef const char *data = <const char *>content if content else NULL
    cdef const char *file = path
    cdef size_t size = len(content)
    cdef mw_session *session
    with nogil:
        session = mw_session_open(data, size, file, threads, error)
    if session == NULL:
        raise ValueError(error.decode("utf-8", "replace"))
    return session


cdef Region NOTED = None          # of this process, as its signals are


def note_deaths(Region region not None):
    """From now on backend.notes.take_runs tells which run or load of this process was to blame for a signal that ended it."""
    global NOTED
    NOTED = region
    mw_note_deaths(death_note(region))


cdef class LoadNote:
    """A context manager: what its thread does is noted as the load of a version. digest: of its file and canary."""

    cdef mw_note *note            # the region's; NULL without

    def __cinit__(self, str name not None, str version not None, str digest not None):
        self.note = take_note(NOTED, name, version, digest, True)

    def __dealloc__(self):
        drop_note(self.note)

    def __enter__(self):
        mw_note_work(self.note)

    def __exit__(self, *raised):
        mw_note_work(NULL)
