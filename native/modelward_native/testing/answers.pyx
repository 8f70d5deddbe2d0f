"""What a model's answers take, as it is learnt: for tests."""
from libc.stdint cimport int64_t, uint64_t

from modelward_native.request.answer cimport mw_answer_learn, mw_answer_predict, mw_answers


cdef class Answers:
    """request/answer.h."""

    cdef mw_answers state

    def learn(self, uint64_t size, int64_t rows=1):
        """An answer of so many bytes to a request of so many rows."""
        mw_answer_learn(&self.state, size, rows)

    def predict(self, int64_t rows=1) -> int:
        """Bytes of the next answer."""
        return mw_answer_predict(&self.state, rows)
