# Declarations of modelward_native/backend/worker_thread.h.
cdef extern from "worker_thread.h" nogil:
    ctypedef struct mw_worker_thread:
        pass
    mw_worker_thread *mw_worker_thread_new(int eventfd, bint idle)
    void mw_worker_thread_start(mw_worker_thread *, void (*work)(void *) noexcept nogil, void *argument)
    int mw_worker_thread_take_done(mw_worker_thread *)
    int mw_worker_thread_id(mw_worker_thread *)
    void mw_worker_thread_free(mw_worker_thread *)
