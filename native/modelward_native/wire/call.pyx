"""Cold methods: health, metadata, statistics, reflection. One Python object per call, none of it on the hot path."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

import asyncio
from collections import deque

from modelward_native.wire.connection cimport connection_of
from modelward_native.wire.receive cimport open_window
from modelward_native.wire.send cimport finish, send_message
from modelward_native.wire.tick cimport flush_all
from modelward_native.wire.types cimport METHOD_REFUSED, Stream
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.holding cimport count_bytes, holder_of, release
from modelward_native.wire.grpc cimport buffer_reserve, ending_with, write_prefix
from modelward_native.wire.headers cimport may_prove_itself
from modelward_native.access.identity cimport Identity
from modelward_native.request.verdict cimport VERDICT_TEXT

cdef enum:
    OUT_CAP = 262144              # unsent bytes before a sender waits


cdef Call call_of(Stream *s):
    return <Call>s.call if s.call != NULL and isinstance(<object>s.call, Call) else None


cdef Call call_begin(Stream *s, str peer):
    """Replaces the stream's list of headers by its Call."""
    cdef Call call = Call()
    headers = <object>s.call
    call.stream = s
    call.peer = peer
    call.peer_key = s.peer
    call.metadata = {}
    call.repeated = set()
    for name, value in headers:
        if name == b":path":
            call.path = value
        else:
            field = name.decode("ascii", "replace")
            if field in call.metadata:
                call.repeated.add(field)
            call.metadata[field] = value.decode("ascii", "replace")
    Py_DECREF(headers)
    Py_INCREF(call)
    s.call = <PyObject *>call
    return call


cdef class Call:
    """An asynchronous iterator over the request's messages (bytes), with `send` and `finish` for the answer."""

    def __cinit__(self):
        self.stream = NULL
        self.messages = deque()

    # ---- what the wire brings

    cdef int take(self, Buffer *message) except -1:
        self.messages.append(PyBytes_FromStringAndSize(<const char *>message.data, message.size))
        self.hold(message.size)
        release(self.stream.conn.wire, message)
        self.stream.inflight += 1
        wake(self.waiter)
        return 0

    cdef int end(self) except -1:
        self.ended = True
        wake(self.waiter)
        return 0

    cdef void hold(self, Py_ssize_t more) noexcept:
        self.held += more
        count_bytes(self.stream.conn.wire, holder_of(self.stream), more)

    cdef int gone(self) except -1:
        self.hold(-<Py_ssize_t>self.held)
        self.stream = NULL
        self.ended = True
        wake(self.waiter)
        wake(self.room)
        if self.task is not None:
            self.task.cancel()
        return 0

    cdef int drained(self) except -1:
        wake(self.room)
        return 0

    cdef bint listens(self) except -1:
        """The coroutine waits for the client's next message."""
        return self.waiter is not None and not self.waiter.done()

    @property
    def identity(self) -> str:
        """The caller's name, as in a header; empty without access control, or where the caller is anonymous or gone."""
        if self.stream == NULL or self.stream.caller == NULL:
            return ""
        return self.stream.caller.name[:self.stream.caller.name_size].decode("ascii")

    @property
    def transport(self):
        """The client's connection as asyncio has it; None once the client has gone."""
        return None if self.stream == NULL else connection_of(self.stream.conn).asyncio

    @property
    def identity_kind(self) -> str:
        """How that was proved: certificate, token or key; empty with it."""
        if self.stream == NULL or self.stream.caller == NULL or self.stream.caller.kind == NULL:
            return ""
        return self.stream.caller.kind.decode()

    @property
    def may_prove_itself(self) -> bool:
        """Whether upstreams would see a credential of the client, had it sent one."""
        return self.stream != NULL and may_prove_itself(self.stream)

    def permits(self, uint8_t kind, str model=None):
        """Whether the caller may call methods of this kind (a bit of modelward_native.access.identity.Permit) on a model.

        kind 0: any at all. A model of None is any one; one that is not served is for callers with a rule for all.
        """
        cdef Identity *caller
        if self.access is None:
            return True
        if self.stream == NULL or self.stream.caller == NULL:
            return False
        caller = self.stream.caller
        if caller.stamp != self.stream.caller_stamp:
            return False
        if model is None:
            return caller.grant.of_any & kind == kind
        number = self.access.identities.models.get(model)
        permits = caller.grant.of_others if number is None else (
            caller.grant.of_model[<uint32_t>number] if <uint32_t>number < caller.grant.models else 0)
        return permits & kind == kind if kind else permits != 0

    # ---- what the coroutine does

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self.messages:
            if self.ended:
                raise StopAsyncIteration
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        message = self.messages.popleft()
        if self.stream != NULL:
            self.hold(-len(message))
            self.stream.inflight -= 1
            open_window(self.stream)
            settle(self.stream)
        return message

    async def send(self, bytes message):
        """Queues one message; waits while the client reads slower than this writes. Raises CancelledError once it is gone."""
        cdef Buffer framed
        while self.stream != NULL and self.stream.out.size - self.stream.out_sent > OUT_CAP:
            self.room = asyncio.get_running_loop().create_future()
            await self.room
        if self.stream == NULL:
            raise asyncio.CancelledError
        memset(&framed, 0, sizeof(framed))
        if buffer_reserve(&framed, 5 + len(message)) < 0:
            raise MemoryError
        framed.holder = holder_of(self.stream)
        count_bytes(self.stream.conn.wire, framed.holder, <int64_t>framed.capacity)
        write_prefix(framed.data, False, <uint32_t>len(message))
        memcpy(framed.data + 5, <const char *>message, len(message))
        framed.size = 5 + len(message)
        send_message(self.stream, &framed)
        settle(self.stream)

    def finish(self, int code, str message="", str reason=""):
        """Ends the call with a gRPC status; reason: for ErrorInfo, or "". Nothing happens if the client has gone."""
        cdef Ending ending
        if self.stream == NULL:
            return
        memset(&ending, 0, sizeof(ending))
        ending.code = code
        if message:
            ending_with(&ending, code, message.encode()[:VERDICT_TEXT - 1], reason.encode()[:64])
        finish(self.stream, &ending)
        self.stream.method = METHOD_REFUSED
        settle(self.stream)


cdef int settle(Stream *s) except -1:
    """Coroutines run outside of a tick's reading: what they changed leaves at once, unless a batch is about to."""
    if not s.conn.wire.batch_pending:
        flush_all(s.conn.wire)
    return 0


cdef int wake(object future) except -1:
    if future is not None and not future.done():
        future.set_result(None)
    return 0
