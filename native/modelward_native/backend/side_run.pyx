"""Runs of an engine beside its requests'."""
from libc.stdint cimport int64_t, uint64_t

cimport cython

from modelward_native.backend.arrays cimport answer_of, fill
from modelward_native.backend.engine cimport Engine
from modelward_native.backend.notes cimport drop_note, take_note
from modelward_native.backend.run cimport (
    mw_run, mw_run_destroy, mw_run_execute, mw_run_init, mw_run_release, mw_run_terminate)


@cython.no_gc_clear               # so that the engine is there when the run is freed
cdef class SideRun:
    """Runs of an engine beside its requests', in any one thread and at any time. Until it is freed, the engine is not idle.

    canary: digest of the file and the canary that it runs, "" for other inputs. Raises RuntimeError for an engine that is
    closed, or that upstreams run.
    """

    cdef Engine engine
    cdef mw_run run               # owned

    def __cinit__(self, Engine engine not None, str canary=""):
        if engine.session == NULL:
            raise RuntimeError(f"{engine.name} is not open here")
        self.engine = engine
        engine.side_runs += 1
        if mw_run_init(&self.run, engine.session) < 0:
            raise MemoryError
        if engine.region is not None:
            self.run.note = take_note(engine.region, engine.name, engine.version, canary or engine.digest, bool(canary))

    def __dealloc__(self):
        drop_note(self.run.note)
        mw_run_destroy(&self.run)
        if self.engine is not None:
            self.engine.side_runs -= 1

    def run_once(self, inputs: dict) -> dict:
        """As Engine.run_once."""
        cdef uint64_t size
        cdef int64_t rows
        held = fill(self.engine, &self.run, inputs, &size, &rows)
        with nogil:
            mw_run_execute(&self.run)
        del held
        try:
            return answer_of(self.engine, &self.run)
        finally:
            mw_run_release(&self.run)

    def stop(self):
        """From another thread: the run in flight, and every later one, ends with a ValueError before its next operator."""
        mw_run_terminate(&self.run, 1)
