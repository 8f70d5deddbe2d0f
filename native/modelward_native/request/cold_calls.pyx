"""Calls that a coroutine of Python answers: everything but inference. How many are open, and whose they are, is bounded."""
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

from modelward_native.access.identity cimport PERMIT_PASSTHROUGH
from modelward_native.limits.limit cimport MW_ADMITTED, Limiter
from modelward_native.region.region cimport Region
from modelward_native.wire.connection cimport connection_of
from modelward_native.wire.send cimport finish, send_message
from modelward_native.wire.types cimport METHOD_COLD, METHOD_REFUSED, Stream
from modelward_native.request.relays cimport begin_relay
from modelward_native.request.state cimport State
from modelward_native.request.streams cimport refuse_call
from modelward_native.request.verdict cimport (
    REASON_OUT_OF_MEMORY, REASON_QUEUE_FULL, REASON_REQUEST_CARDINALITY, REASON_UNKNOWN_METHOD, Verdict, refusal)
from modelward_native.stages.limit cimport charge
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.call cimport Call, call_begin, call_of
from modelward_native.wire.grpc cimport buffer_reserve
from modelward_native.wire.holding cimport count_bytes, holder_of, release
from modelward_native.wire.stream cimport refuse_for

cdef enum:
    COLD_CALLS = 1024             # at a time that answer once, and as many that answer streams, such as a Watch
    COLD_OF_PEER = 128            # of one peer, and of one identity
    FOR_PROBES = 256              # of those that answer once: for calls that are open to every caller
    PROBES_PER_SECOND = 100       # of one peer, besides what it may send otherwise
    PROBES_AT_ONCE = 200
    PROBING_PEERS = 65536


cdef inline bytes path_of(const Stream *s):
    return (<list><object>s.call)[0][1]


cdef class ColdCalls:
    def __cinit__(self, Region region not None):
        self.methods = {}
        self.streaming = self.client_streaming = frozenset()
        self.probes = {}
        self.tasks = {}
        self.streams = {}
        self.held = {}
        self.probe_rate = Limiter(PROBING_PEERS, region=region, name="probes")
        self.probe_rate.set_peer(PROBES_PER_SECOND, PROBES_AT_ONCE)

    def start(self, loop, dispatch, methods, streaming, client_streaming):
        """See request.server.Server.start."""
        self.loop = loop
        self.dispatch = dispatch
        self.methods = dict(methods)
        self.streaming = frozenset(streaming)
        self.client_streaming = frozenset(client_streaming)

    def set_probes(self, dict answers not None):
        """See request.server.Server.set_probes."""
        self.probes = answers

    cdef bint is_open(self, const Stream *s) noexcept:
        return s.method == METHOD_COLD and self.methods.get(path_of(s)) == 0

    cdef uint8_t permits_of(self, State server, const Stream *s) noexcept:
        return self.methods.get(path_of(s), 0 if server.passthrough is None else PERMIT_PASSTHROUGH)

    cdef void begin(self, State server, Stream *s) noexcept:
        """A call whose request is one message begins when that is complete: until then it takes no place."""
        try:
            path = path_of(s)
            kind = self.methods.get(path)
            if not self.charge_call(server, s, kind == 0):
                return
            if kind is None:
                if server.passthrough is not None:
                    begin_relay(server, s, path)
                    return
                refuse_for(s, REASON_UNKNOWN_METHOD, "unknown method")
            elif path in self.client_streaming:
                self.open(server, s)
            else:
                s.unary = True
        except MemoryError:
            refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")

    cdef bint charge_call(self, State server, Stream *s, bint probe) noexcept:
        """Probes have a rate of their own, so that no traffic of an orchestrator's address takes it from its health checks.
        What goes beyond that is paid for like every other call."""
        cdef Verdict v
        cdef int64_t retry = 0
        if not server.limited or probe and self.probe_rate.admit_peer(s.peer, 1, s.conn.wire.now, &retry) == MW_ADMITTED:
            return True
        if charge(server, s, &v):
            return True
        refuse_call(server, s, &v)
        return False

    cdef Call open(self, State server, Stream *s):
        """The coroutine that answers; None where the stream is refused."""
        cdef Call call
        cdef Verdict v
        path = path_of(s)
        streaming = path in self.streaming
        taken = self.streams if streaming else self.tasks
        bound = COLD_CALLS if streaming or self.methods.get(path) == 0 else COLD_CALLS - FOR_PROBES
        if streaming:             # each may keep a connection
            bound = min(bound, max(server.listener.max_here // 2, 1))
        holders = [s.peer] if s.caller == NULL or s.caller.budget == 0 else [s.peer, s.budget]
        for holder in holders:
            held = self.held.get((streaming, holder), 0)
            # a share, and no more than what is free: several who take all that they can leave as much for another
            if held >= COLD_OF_PEER or held >= bound - len(taken):
                refusal(&v, REASON_QUEUE_FULL, "too many calls of this kind are open; do not retry at once")
                refuse_call(server, s, &v)
                return None
        call = call_begin(s, connection_of(s.conn).peer_name)
        call.access = server.access
        call.task = self.loop.create_task(self.dispatch(call))
        taken[call.task] = [(streaming, holder) for holder in holders]
        for key in taken[call.task]:
            self.held[key] = self.held.get(key, 0) + 1
        call.task.add_done_callback(self.end)
        return call

    cdef void take(self, State server, Stream *s, Buffer *message) noexcept:
        cdef Call call = call_of(s)
        try:
            if call is None:
                answers = self.probes.get(path_of(s))
                answer = None if answers is None else answers.get((<const char *>message.data)[:message.size])
                if answer is not None:
                    release(s.conn.wire, message)
                    answer_framed(s, answer)
                    return
                call = self.open(server, s)
            if call is None:
                release(s.conn.wire, message)
            else:
                call.take(message)
        except MemoryError:
            release(s.conn.wire, message)
            refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")

    cdef void end_messages(self, State server, Stream *s) noexcept:
        cdef Call call = call_of(s)
        if call is None:
            refuse_for(s, REASON_REQUEST_CARDINALITY, "the call ended before its request message")
            return
        try:
            call.end()
        except MemoryError:
            refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")

    def end(self, task):
        """The coroutine of a call has ended."""
        keys = self.tasks.pop(task, None) or self.streams.pop(task)
        for key in keys:
            self.held[key] -= 1
            if self.held[key] == 0:
                del self.held[key]

    cdef int stop(self) except -1:
        for task in [*self.tasks, *self.streams]:
            task.cancel()
        return 0


cdef int answer_framed(Stream *s, bytes answer) except -1:
    """A whole answer, and the end of its call."""
    cdef Buffer framed
    cdef Ending ending
    memset(&framed, 0, sizeof(framed))
    if buffer_reserve(&framed, len(answer)) < 0:
        raise MemoryError
    framed.holder = holder_of(s)
    count_bytes(s.conn.wire, framed.holder, <int64_t>framed.capacity)
    memcpy(framed.data, <const char *>answer, len(answer))
    framed.size = len(answer)
    send_message(s, &framed)
    memset(&ending, 0, sizeof(ending))
    finish(s, &ending)
    s.method = METHOD_REFUSED     # what still comes is dropped
    return 0
