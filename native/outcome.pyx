"""What becomes of an exchange once its rooms are behind it: an answer, the next rung of the ladder, or a refusal.

Every verdict leaves through `refuse_exchange` or the ladder, every answer through `answer`, every finished exchange
through `record`.
"""
from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.string cimport memset

from native.batch cimport withdraw
from native.deadline cimport mw_timer, mw_timer_init, mw_timer_pending, timer_add, timer_cancel
from native.exchange cimport (
    METHOD_STREAM_INFER, PHASE_DONE, PHASE_NEW, PHASE_UPSTREAM, Buffer, Ending, Exchange, Stream, exchange_unref)
from native.grpc cimport ending_of
from native.histogram cimport mw_histogram_record_ns
from native.model cimport MODE_FALLBACK, MODE_TAG, Counters, Model, Rung
from native.recall cimport Recall
from native.reply cimport fallback_name, reply_from_constants, reply_from_upstream, reply_stream_error
from native.state cimport State
from native.stream cimport finish, open_window, release, send_message
from native.verdict cimport (
    CODE_DEADLINE_EXCEEDED, CODE_INTERNAL, CODE_OK, CODE_RESOURCE_EXHAUSTED, CODE_UNAVAILABLE, CODE_UNKNOWN,
    REASON_BACKEND_FAILED, REASON_DEADLINE, REASON_NO_UPSTREAM, REASON_NONE, REASON_OUT_OF_MEMORY, REASON_QUEUE_FULL,
    VERDICT_TEXT, Verdict, code_of)

cdef int64_t RETRY_NS = 100000000         # when there may be room for answers again


# ---- deadlines -----------------------------------------------------------------------------------------------

cdef void watch_deadline(Exchange *x) noexcept:
    """Once per exchange, before anything may set its deadline."""
    mw_timer_init(&x.deadline, <void (*)(mw_timer *, int64_t) noexcept nogil>on_deadline)


cdef void set_deadline(State server, Exchange *x) noexcept:
    if not mw_timer_pending(&x.deadline):
        x.references += 1
    else:
        timer_cancel(server.listener.wheel, &x.deadline)
    timer_add(server.listener.wheel, &x.deadline, x.due)


cdef void clear_deadline(State server, Exchange *x) noexcept:
    if mw_timer_pending(&x.deadline):
        timer_cancel(server.listener.wheel, &x.deadline)
        exchange_unref(x)


cdef void on_deadline(mw_timer *timer, int64_t now) noexcept:
    cdef Exchange *x = <Exchange *>timer
    cdef State server = <State>x.wire.server
    x.wire.now = now
    if x.phase != PHASE_DONE:
        fail(server, x, REASON_DEADLINE, now)
    exchange_unref(x)


cdef void on_expired(void *server, Exchange *x, int64_t now) noexcept:
    """Found in the queue after its time: it never reaches a backend."""
    fail(<State>server, x, REASON_DEADLINE, now)


# ---- the ladder ----------------------------------------------------------------------------------------------

cdef bint fall(State server, Exchange *x, int reason, int64_t now) noexcept:
    """The next rung; False where the ladder has none left."""
    cdef Model *m = <Model *>x.asked
    cdef Rung *rung
    cdef Buffer reply
    if x.fallback_reason == REASON_NONE:
        x.fallback_reason = reason
    while x.rung < m.rung_count:
        rung = &m.rungs[x.rung]
        x.rung += 1
        if rung.recall != NULL:
            memset(&reply, 0, sizeof(reply))
            if (<Recall>rung.recall).recall(server.listener.limiter, x, &reply, now):
                if reply_from_upstream(x, rung, &reply):
                    answer(server, x, &reply, now)
                    return True
                release(x.wire, &reply)
        elif rung.model == NULL:
            memset(&reply, 0, sizeof(reply))
            if reply_from_constants(x, rung, &reply):
                answer(server, x, &reply, now)
                return True
        elif x.client_due == 0 or x.client_due > now:
            x.due = x.client_due
            if x.due:
                set_deadline(server, x)
            x.alone = False
            if start(server, x, rung.model, now) == REASON_NONE:
                return True
    return False


cdef void fail(State server, Exchange *x, int reason, int64_t now) noexcept:
    """The backend did not answer in time, or at all: down the ladder, or a refusal."""
    cdef Verdict v
    abandon(server, x)
    x.phase = PHASE_NEW
    if fall(server, x, reason, now):
        return
    v.reason = reason
    v.retry_ns = 0
    if reason == REASON_DEADLINE:
        snprintf(v.text, VERDICT_TEXT, "deadline exceeded after %.1f ms", (now - x.entered) / 1e6)
    elif reason == REASON_QUEUE_FULL:
        v.retry_ns = -1
        snprintf(v.text, VERDICT_TEXT, "the model's queue is full; do not retry at once")
    elif reason == REASON_OUT_OF_MEMORY:
        v.retry_ns = RETRY_NS
        snprintf(v.text, VERDICT_TEXT, "no room for the answer: it is too large, or clients have not taken those before it")
    elif reason == REASON_NO_UPSTREAM:
        snprintf(v.text, VERDICT_TEXT, "no upstream server of this model can be reached")
    else:
        snprintf(v.text, VERDICT_TEXT, "the model failed on this input")
    refuse_exchange(server, x, &v, now)


cdef int start(State server, Exchange *x, Model *m, int64_t now) noexcept:
    """Into the model's queue, or on its way to an upstream; REASON_NONE, or why not."""
    x.model = m
    if m.pool == NULL:
        return REASON_NONE if server.scheduler.enqueue(x, m) else REASON_QUEUE_FULL
    return REASON_NONE if server.upstreams.forward(<void *>server, x, m.pool, now) else REASON_NO_UPSTREAM


cdef void abandon(State server, Exchange *x) noexcept:
    """Nobody waits for what was started."""
    if x.phase == PHASE_UPSTREAM:
        x.attempt += 1
        server.upstreams.cancel(x)
    else:
        withdraw(x)


cdef void on_failed(void *server, Exchange *x, int reason, int64_t now) noexcept:
    fail(<State>server, x, reason, now)


cdef void on_answered(void *server, Exchange *x, Buffer *reply, int64_t now) noexcept:
    answer(<State>server, x, reply, now)


# ---- reply and record ----------------------------------------------------------------------------------------

cdef void answer(State server, Exchange *x, Buffer *reply, int64_t now) noexcept:
    cdef Model *asked = <Model *>x.asked
    if x.fallback_reason != REASON_NONE:
        asked.counters.fallbacks[x.fallback_reason] += 1
        x.ending.fallback = fallback_name(x.fallback_reason)
    elif asked.recall != NULL and not x.streaming and not x.flagged:
        (<Recall>asked.recall).remember(server.listener.limiter, x, reply, now)
    if x.flagged and (asked.mode == MODE_TAG or asked.mode == MODE_FALLBACK):
        x.ending.has_anomaly_score = True
        x.ending.anomaly_score = x.score
    asked.counters.success += 1
    asked.counters.success_ns += now - x.entered
    x.reply = reply[0]
    memset(reply, 0, sizeof(Buffer))
    conclude(server, x, CODE_OK, now)


cdef void forwarded(State server, Exchange *x, Buffer *framed, int64_t now) noexcept:
    """An upstream's answer: passed on as it came, but for what the guards have to say."""
    cdef Model *asked = <Model *>x.asked
    cdef const Rung *rung = NULL
    if <Model *>x.model != asked:
        rung = &asked.rungs[x.rung - 1]
    if reply_from_upstream(x, rung, framed):
        answer(server, x, framed, now)
    else:
        release(x.wire, framed)
        fail(server, x, REASON_OUT_OF_MEMORY, now)


cdef void refused_upstream(State server, Exchange *x, int status, char **message, char **details, int64_t now) noexcept:
    """The upstream's own status. What it is to blame for may fall down the ladder; the rest is the client's to see."""
    cdef Counters *c = (<Model *>x.asked).counters
    cdef Verdict v
    if status in (CODE_UNKNOWN, CODE_DEADLINE_EXCEEDED, CODE_RESOURCE_EXHAUSTED, 10, CODE_INTERNAL, CODE_UNAVAILABLE, 15):
        abandon(server, x)
        x.phase = PHASE_NEW
        if fall(server, x, REASON_DEADLINE if status == CODE_DEADLINE_EXCEEDED else REASON_BACKEND_FAILED, now):
            return
    if x.streaming:
        v.reason = REASON_BACKEND_FAILED
        v.retry_ns = 0
        snprintf(v.text, VERDICT_TEXT, "the upstream answered with status %d", status)
        refuse_exchange(server, x, &v, now)
        return
    c.refusals[<int>REASON_BACKEND_FAILED] += 1
    c.fail += 1
    c.fail_ns += now - x.entered
    x.ending.code = status
    x.ending.message = message[0]
    x.ending.details = details[0]
    message[0] = NULL
    details[0] = NULL
    conclude(server, x, status, now)


cdef void refuse_exchange(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef Counters *c = server.other if x.asked == NULL else (<Model *>x.asked).counters
    cdef Buffer reply
    c.refusals[v.reason] += 1
    c.fail += 1
    c.fail_ns += now - x.entered
    if x.streaming:
        memset(&reply, 0, sizeof(reply))
        if reply_stream_error(x, v, &reply):
            x.reply = reply
    else:
        ending_of(&x.ending, v)
        if x.flagged:
            x.ending.has_anomaly_score = True
            x.ending.anomaly_score = x.score
    conclude(server, x, code_of(v.reason), now)


cdef void relayed(State server, Exchange *x) noexcept:
    """Nobody knows which answers will be this message's, or how many: it counts as served, and its time is not measured."""
    cdef Counters *c = (<Model *>x.asked).counters
    c.codes[<int>CODE_OK] += 1
    c.success += 1
    c.queued += 1
    server.gauges.inflight -= 1
    x.phase = PHASE_DONE
    x.reply_ready = True
    send_ready(x.stream)


cdef void record(State server, Exchange *x, int code, int64_t now) noexcept:
    cdef Counters *c = server.other if x.asked == NULL else (<Model *>x.asked).counters
    c.codes[code] += 1
    mw_histogram_record_ns(&c.request, now - x.entered)
    server.gauges.inflight -= 1


cdef void conclude(State server, Exchange *x, int code, int64_t now) noexcept:
    """The exchange has its outcome: it is recorded, and leaves in its stream's order."""
    record(server, x, code, now)
    x.phase = PHASE_DONE
    x.reply_ready = True
    clear_deadline(server, x)
    if x.stream != NULL:
        send_ready(x.stream)


cdef void send_ready(Stream *s) noexcept:
    """Sends every concluded exchange at the head of the stream."""
    cdef Exchange *x
    cdef Ending ending
    while s.first != NULL and s.first.reply_ready:
        x = s.first
        s.first = x.next_in_stream
        if s.first == NULL:
            s.last = NULL
        s.inflight -= 1
        x.stream = NULL
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
        (<State>s.conn.wire.server).upstreams.half_close(s)
    else:
        memset(&ending, 0, sizeof(ending))
        finish(s, &ending)
