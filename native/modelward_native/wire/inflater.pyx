"""Inflates compressed messages where they delay no other request, in turn between their senders.

The loop inflates a first piece, which names the model, and after admission what is short. The rest is a thread's, by slices.
After each slice another identity's message may go on, in the same fair order as before a backend: a client that sends many large
messages waits behind itself. A stream has one message here at most and is not read meanwhile.
"""
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

import logging
import os

from modelward_native.stages.inflate cimport on_unpacked
from modelward_native.backend.admit cimport (
    MW_NOT_WAITING, mw_waiting_correct, mw_waiting_flow, mw_waiting_free, mw_waiting_init, mw_waiting_pop, mw_waiting_push,
    mw_waiting_remove)
from modelward_native.backend.worker_thread cimport (
    mw_worker_thread_free, mw_worker_thread_new, mw_worker_thread_start, mw_worker_thread_take_done)
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.wire.compression cimport (
    INFLATED_NO_MEMORY, INFLATED_PART, INFLATED_WHOLE, inflation_begin, inflation_end, inflation_room, inflation_step)
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.tick cimport flush_all
from modelward_native.wire.types cimport Stream, Wire
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.holding cimport count_bytes, grow, release

log = logging.getLogger("modelward.wire")

cdef enum:
    HEAD = 4096                   # bytes out that tell the model, from at most four times as many in: some 20 us
    SHORT = 65536                 # bytes out, and in, up to which the loop does it: 0.1 to 0.4 ms
    SLICE = 1048576               # the thread's, between two looks at who waits: 1 to 8 ms
    WAITING = 128                 # messages; each holds zlib's 40 KiB and what it came in
    PARTIAL = 4                   # of them that have been begun: these hold room for all that they become


cdef void packed_free(Packed *p) noexcept:
    if p.stream != NULL:
        p.stream.packed = NULL
    p.wire.traffic.inflated += p.work.z.total_out
    inflation_end(&p.work)
    release(p.wire, &p.body)
    release(p.wire, &p.work.out)
    free(p)


cdef void take_unpacked(Packed *p, Buffer *message) noexcept:
    cdef Buffer *out = &p.work.out
    cdef void *data
    if out.capacity > 2 * out.size + HEAD:
        # without a trailer that tells the size there was room for the largest
        data = realloc(out.data, max(out.size, <size_t>1))
        if data != NULL:
            count_bytes(p.wire, out.holder, <int64_t>max(out.size, <size_t>1) - <int64_t>out.capacity)
            out.data = <unsigned char *>data
            out.capacity = max(out.size, <size_t>1)
    message[0] = out[0]
    memset(out, 0, sizeof(Buffer))


cdef void work(void *argument) noexcept nogil:
    """A slice, in the worker thread."""
    cdef Packed *p = <Packed *>argument
    cdef int64_t began = mw_now_ns()
    p.state = inflation_step(&p.work, p.work.out.size + SLICE, SLICE)
    p.took += mw_now_ns() - began


cdef class Inflater:
    """Of one server. Without a loop everything is inflated at once."""

    def __cinit__(self):
        self.eventfd = -1
        mw_waiting_init(&self.waiting, WAITING)

    def __dealloc__(self):
        mw_worker_thread_free(self.thread)
        mw_waiting_free(&self.waiting)

    def start(self, loop):
        """Joins the running event loop."""
        self.loop = loop

    @property
    def busy(self) -> bool:
        """The thread has something to do."""
        return self.running != NULL or self.waiting.count > 0

    def stop(self):
        """Ends the thread, drops what waits, leaves the loop."""
        cdef Packed *p
        mw_worker_thread_free(self.thread)
        self.thread = NULL
        if self.running != NULL:
            packed_free(self.running)
            self.running = NULL
        while self.waiting.count:
            p = <Packed *>mw_waiting_pop(&self.waiting)
            packed_free(p)
        if self.eventfd >= 0:
            self.loop.remove_reader(self.eventfd)
            os.close(self.eventfd)
            self.eventfd = -1
        self.loop = None

    cdef Packed *open(self, Stream *s, Exchange *x, Buffer *message, int *state) noexcept:
        cdef Packed *p = <Packed *>calloc(1, sizeof(Packed))
        cdef int64_t began = mw_now_ns()
        if p == NULL:
            state[0] = INFLATED_NO_MEMORY
            return NULL
        p.wire = s.conn.wire
        p.stream = s
        p.exchange = x
        p.payer = s.budget
        p.waiting = MW_NOT_WAITING
        p.body = message[0]
        memset(message, 0, sizeof(Buffer))
        state[0] = inflation_begin(&p.work, p.body.data, p.body.size, s.encoding, p.wire.message_size)
        p.work.out.holder = p.body.holder
        if state[0] == INFLATED_PART and grow(p.wire, &p.work.out, inflation_room(&p.work, HEAD)) < 0:
            state[0] = INFLATED_NO_MEMORY
        if state[0] == INFLATED_PART:
            state[0] = p.state = inflation_step(&p.work, HEAD, 4 * HEAD)
        if state[0] != INFLATED_PART and state[0] != INFLATED_WHOLE:
            p.stream = NULL
            packed_free(p)
            return NULL
        p.took = mw_now_ns() - began
        s.packed = p
        return p

    cdef int unpack(self, Packed *p) noexcept:
        cdef int64_t began
        if p.state == INFLATED_PART:
            began = mw_now_ns()
            if grow(p.wire, &p.work.out, inflation_room(&p.work, SHORT)) < 0:
                p.state = INFLATED_NO_MEMORY
            else:
                p.state = inflation_step(&p.work, SHORT, SHORT)
            p.took += mw_now_ns() - began
        return p.state

    cdef bint queue(self, Packed *p) noexcept:
        if not self.begin_thread():
            if grow(p.wire, &p.work.out, p.work.allowed + 1) < 0:
                p.state = INFLATED_NO_MEMORY
            while p.state == INFLATED_PART:
                work(p)           # no thread to be had: slow is better than not at all
            self.finish(p)
            return True
        self.queued += 1
        if not self.wait(p):
            return False
        self.next()
        return True

    cdef bint wait(self, Packed *p) noexcept:
        cdef void *shed = NULL
        if not mw_waiting_push(&self.waiting, 0, not p.partial, p.payer, SLICE, p, &p.waiting, &shed):
            return False
        if shed != NULL:
            self.partial -= (<Packed *>shed).partial
            (<Packed *>shed).refused = True
            self.finish(<Packed *>shed)
        return True

    cdef bint others_wait(self, const Packed *p) noexcept:
        return self.waiting.active > <uint32_t>(self.waiting.flow[mw_waiting_flow(p.payer)].waiting > 0)

    cdef void next(self) noexcept:
        """Gives the thread its next slice."""
        cdef Packed *p
        while self.running == NULL and self.waiting.count:
            p = <Packed *>mw_waiting_pop(&self.waiting)
            self.partial -= p.partial
            p.partial = False
            if grow(p.wire, &p.work.out, p.work.allowed + 1) < 0:
                p.refused = True
                self.finish(p)
                continue
            self.running = p
            mw_worker_thread_start(self.thread, work, p)

    cdef void finish(self, Packed *p) noexcept:
        if p.stream != NULL:
            p.stream.packed = NULL
            on_unpacked(p, p.wire.now)
            p.stream = NULL
        packed_free(p)

    cdef bint begin_thread(self) noexcept:
        if self.thread != NULL:
            return True
        if self.loop is None:
            return False
        try:
            if self.eventfd < 0:
                self.eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                self.loop.add_reader(self.eventfd, self.on_thread)
        except (OSError, RuntimeError):
            self.warn()
            return False
        self.thread = mw_worker_thread_new(self.eventfd, 0)
        if self.thread == NULL:
            self.warn()
        return self.thread != NULL

    cdef void warn(self) noexcept:
        if not self.warned:
            self.warned = True
            log.warning("no thread can be had for compressed messages: they are inflated on the loop, which delays others")

    cdef void drop(self, Stream *s) noexcept:
        cdef Packed *p = s.packed
        if p == NULL:
            return
        s.packed = NULL
        p.stream = NULL
        if p == self.running:
            return                # the thread's until it is done with it
        mw_waiting_remove(&self.waiting, &p.waiting)
        self.partial -= p.partial
        packed_free(p)

    def on_thread(self):
        """A slice is done."""
        cdef Packed *p = self.running
        cdef Wire *wire
        try:
            os.eventfd_read(self.eventfd)
        except BlockingIOError:
            return
        if p == NULL or not mw_worker_thread_take_done(self.thread):
            return
        if p.stream != NULL and p.state == INFLATED_PART and (self.partial >= PARTIAL or not self.others_wait(p)):
            mw_waiting_correct(&self.waiting, p.payer, SLICE)
            mw_worker_thread_start(self.thread, work, p)
            return
        self.running = NULL
        wire = p.wire
        wire.now = mw_now_ns()
        if p.stream == NULL or p.state != INFLATED_PART:
            self.finish(p)
        else:
            p.partial = True      # goes on before the others of its identity
            if self.wait(p):
                self.partial += 1
            else:
                p.refused = True
                self.finish(p)
        self.next()
        if not wire.batch_pending:
            flush_all(wire)
