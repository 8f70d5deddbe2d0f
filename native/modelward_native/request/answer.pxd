# Declarations of modelward_native/request/answer.h.
from libc.stdint cimport int64_t, uint64_t

cdef extern from "answer.h" nogil:
    ctypedef struct mw_answers:
        pass
    uint64_t mw_answer_predict(const mw_answers *, int64_t rows)
    void mw_answer_learn(mw_answers *, uint64_t bytes, int64_t rows)
