# Requests that wait because their connection has not taken the answers before them. What has not begun costs nothing.
from libc.stdint cimport int64_t, uint64_t

from native.exchange cimport Conn, Exchange

cdef extern from "answer.h" nogil:
    ctypedef struct mw_answers:
        pass
    uint64_t mw_answer_predict(const mw_answers *, int64_t rows)
    void mw_answer_learn(mw_answers *, uint64_t bytes, int64_t rows)

cdef enum:
    # Bytes of answers that one connection may owe us the taking of before no more are begun; the last may go beyond, so at least
    # one is always under way. It is what a socket and one run need to keep going.
    OWED_CAP = 2097152


cdef inline size_t owed(const Conn *c) noexcept:
    return c.unsent + c.promised


cdef inline bint must_park(const Conn *c) noexcept:
    return c.parked_first != NULL or owed(c) >= OWED_CAP


cdef inline void promise(Exchange *x, size_t size) noexcept:
    """What its answer will take, or takes, in place of what was promised before. Only while it has a stream."""
    x.stream.conn.promised += size - x.promised
    x.promised = size


cdef void park(Exchange *x) noexcept      # behind its connection's others
cdef void unpark(Exchange *x) noexcept
