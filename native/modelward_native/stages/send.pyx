"""At completion: the answer goes to the client, in the order of its stream. The wire writes all answers of a tick at once."""
from libc.stdint cimport int64_t
from libc.string cimport memset

from modelward_native.backend.relay cimport relay_half_close
from modelward_native.request.exchange cimport Exchange, exchange_unref
from modelward_native.wire.receive cimport open_window
from modelward_native.wire.send cimport begin_answer, finish, send_message
from modelward_native.wire.types cimport METHOD_STREAM_INFER, Stream
from modelward_native.request.state cimport State
from modelward_native.stages.deadline cimport clear_deadline
from modelward_native.stages.stage cimport Result
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.parking cimport promise
from modelward_native.wire.holding cimport release as release_buffer


cdef bint send(State server, Exchange *x, Result *r, int64_t now) noexcept:
    clear_deadline(server, x)
    if x.mirrors != NULL:
        if r.answer != NULL:
            release_buffer(x.wire, r.answer)
        exchange_unref(x)
        return True
    x.reply_ready = True
    if x.stream != NULL and not r.gone:
        if not r.sent_up:
            promise(x, x.reply.size)
        send_ready(x.stream)
    return True


cdef void send_ready(Stream *s) noexcept:
    """Sends the answers of ended exchanges, from the head of the stream up to the first that has not ended."""
    cdef Exchange *x
    cdef Ending ending
    while s.first != NULL and s.first.reply_ready:
        x = s.first
        s.first = x.next_in_stream
        if s.first == NULL:
            s.last = NULL
        s.inflight -= 1
        promise(x, 0)
        x.stream = NULL
        if x.initial.size:
            begin_answer(s, &x.initial)
        if x.reply.size:
            send_message(s, &x.reply)
            memset(&x.reply, 0, sizeof(Buffer))
        if not x.streaming:
            ending = x.ending
            memset(&x.ending, 0, sizeof(Ending))
            finish(s, &ending)
        exchange_unref(x)
    open_window(s)
    if s.method == METHOD_STREAM_INFER:
        end_stream(s)


cdef void end_stream(Stream *s) noexcept:
    cdef Ending ending
    if not s.remote_ended or s.first != NULL:
        return
    if s.relay != NULL:
        relay_half_close(s)
    else:
        memset(&ending, 0, sizeof(ending))
        finish(s, &ending)
