"""The transport under every kind of connection: read by asyncio, written straight to the socket while that takes everything."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t

from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.timer.deadline cimport timer_cancel
from modelward_native.wire.types cimport Transport, Wire

cdef extern from "<sys/socket.h>" nogil:
    ssize_t send(int, const void *, size_t, int)
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL

cdef int64_t GOODBYE = 5000000000  # ns; until a peer that does not take the last bytes is cut off


cdef class Protocol:
    """asyncio.BufferedProtocol, as far as every kind of connection does the same.

    Its subclasses import this module to be defined: it may import no module that needs them.
    """

    cdef void begin(self, Transport *t, Wire *wire) noexcept:
        t.wire = wire
        t.owner = <PyObject *>self
        t.fd = -1
        self.transport = t

    cdef int open(self, object asyncio) except -1:
        cdef Transport *t = self.transport
        self.asyncio = asyncio
        t.asyncio = <PyObject *>asyncio
        t.wire.now = mw_now_ns()
        t.opened = t.active = t.wire.now
        if asyncio.get_extra_info("sslcontext") is None:
            socket = asyncio.get_extra_info("socket")
            t.fd = socket.fileno() if socket is not None else -1
        return 0

    cdef int lose(self) except -1:
        cdef Transport *t = self.transport
        cdef Transport **link = &t.wire.dirty
        if t.dirty:
            while link[0] != t:
                link = &link[0].next_dirty
            link[0] = t.next_dirty
            t.dirty = False
        timer_cancel(wheel_of(t.wire), &t.timer)
        t.asyncio = NULL
        self.asyncio = None
        return 0

    cdef bint resume(self) noexcept:
        cdef Transport *t = self.transport
        t.paused = False
        if not is_open(t) or self.asyncio.is_closing() or t.closing:
            return False
        self.asyncio.resume_reading()
        mark(t)
        return True

    def get_buffer(self, sizehint):
        return <object>self.transport.wire.read_view

    def eof_received(self):
        return False

    def abort(self):
        """Closes at once, whatever is under way."""
        if is_open(self.transport):
            asyncio_of(self.transport).abort()


cdef inline object asyncio_of(const Transport *t):
    return <object>t.asyncio


cdef void write_out(Transport *t, const uint8_t *data, size_t size) noexcept:
    """What the socket does not take goes through asyncio, and all that follows until that is written."""
    cdef ssize_t sent = 0
    if not is_open(t):
        return
    if t.queued and asyncio_of(t).get_write_buffer_size() == 0:
        t.queued = False
    if t.fd >= 0 and not t.queued:
        sent = send(t.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                asyncio_of(t).abort()
                return
            sent = 0
        if <size_t>sent == size:
            return
    t.queued = True
    asyncio_of(t).write(PyBytes_FromStringAndSize(<const char *>data + sent, size - sent))


cdef void close_soon(Transport *t) noexcept:
    if t.closing or not is_open(t):
        return
    t.closing = True
    watch(t, t.wire.now + min(t.wire.stall_timeout, GOODBYE))
    # closed with something unread, a socket takes back even what it had sent: the peer would miss the GOAWAY
    if t.wire.draining and t.fd >= 0:
        asyncio_of(t).write_eof()
    else:
        asyncio_of(t).close()


cdef void abort(Transport *t) noexcept:
    if is_open(t):
        asyncio_of(t).abort()
