"""What becomes of an exchange once its rooms are behind it: an answer, the next rung of the ladder, or a refusal.

Every verdict leaves through `refuse_exchange` or the ladder, every answer through `answer`, every finished exchange
through `record`.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset

from modelward_native.backend.admit cimport (
    mw_concurrency_enter, mw_concurrency_free, mw_concurrency_leave, mw_concurrency_limit, mw_waiting_ahead, mw_waiting_pass,
    mw_waiting_pop, mw_waiting_push, mw_waiting_remove)
from modelward_native.backend.queue cimport withdraw
from modelward_native.backend.cause cimport mw_cause
from modelward_native.backend.contain cimport contained
from modelward_native.shadow.crosscheck cimport crosscheck, end_crosscheck, other_version
from modelward_native.timer.deadline cimport mw_timer, mw_timer_init, mw_timer_pending, timer_add, timer_cancel
from modelward_native.request.empty cimport bears
from modelward_native.backend.engine cimport Engine
from modelward_native.shadow.evidence cimport ASSIGNED_NONE, sketch, testify
from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport (
    METHOD_STREAM_INFER, PHASE_DONE, PHASE_NEW, PHASE_PACKED, PHASE_PARKED, PHASE_RUNNING, PHASE_UPSTREAM, PHASE_WAITING,
    Conn, Exchange, Stream, exchange_unref)
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.grpc cimport ending_of
from modelward_native.wire.headers cimport refuses_us
from modelward_native.telemetry.histogram cimport mw_histogram_record_ns
from modelward_native.shadow.mirror cimport mirrored
from modelward_native.shadow.pair cimport drop, pair
from modelward_native.shadow.samples cimport drop_samples
from modelward_native.request.model cimport (
    CALLER_PARTS, CROWDED, MODE_FALLBACK, MODE_TAG, OUTCOME_FAILED, OUTCOME_FALLBACK, OUTCOME_OK, OUTCOME_REFUSED, Counters, Gate,
    Model, Rung)
from modelward_native.wire.parking cimport OWED_CAP, must_park, owed, park, promise, unpark
from modelward_native.request.answer cimport mw_answer_learn, mw_answer_predict
from modelward_native.backend.pool cimport Pool
from modelward_native.backend.relay cimport relay_half_close, relay_request
from modelward_native.backend.upstream cimport cancel_call, forward
from modelward_native.request.recall cimport Recall
from modelward_native.request.reply cimport fallback_name, reply_from_constants, reply_from_upstream, reply_stream_error
from modelward_native.request.state cimport State
from modelward_native.wire.stream cimport begin_answer, finish, open_window, release, send_message
from modelward_native.request.verdict cimport (
    CODE_CANCELLED, CODE_DEADLINE_EXCEEDED, CODE_INTERNAL, CODE_INVALID_ARGUMENT, CODE_NOT_FOUND, CODE_OK,
    CODE_RESOURCE_EXHAUSTED, CODE_UNAVAILABLE, CODE_UNKNOWN,
    REASON_BACKEND_FAILED, REASON_CANARY, REASON_CRASH, REASON_DEADLINE, REASON_INFEASIBLE, REASON_INFLIGHT_BYTES,
    REASON_NO_UPSTREAM, REASON_NONE, REASON_OUT_OF_MEMORY, REASON_QUEUE_FULL, REASON_RUN_MEMORY, REASON_SHED,
    REASON_UPSTREAM_CREDENTIALS, VERDICT_TEXT, Verdict, code_of)

cdef enum:
    CAUSE = 256                   # bytes of the runtime's words that a caller is told

cdef const char *UPSTREAM_REFUSES_US = "the upstream server refused this proxy's credentials, not yours"
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


cdef void on_expired(State server, Exchange *x, int64_t now) noexcept:
    """Found in the queue after its time: it never reaches a backend."""
    fail(server, x, REASON_DEADLINE, now)


cdef inline bint is_known(const Stream *s) noexcept:
    """A caller with a name; nobody else is told what goes on in a model."""
    return s.caller != NULL and s.caller.name != NULL


# ---- the ladder ----------------------------------------------------------------------------------------------

cdef bint fall(State server, Exchange *x, int reason, int64_t now) noexcept:
    """The next rung; False where the ladder has none left."""
    cdef Model *m = x.asked
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
        elif x.opaque and (rung.model == NULL or rung.model.pool == NULL):
            continue              # what runs here has not the inputs, or makes no such outputs
        elif rung.model == NULL:
            memset(&reply, 0, sizeof(reply))
            if reply_from_constants(x, rung, &reply):
                answer(server, x, &reply, now)
                return True
        elif x.client_due == 0 or x.client_due > now:
            x.due = x.client_due
            if x.due:
                set_deadline(server, x)
            x.alone = x.rows == 0
            if start(server, x, rung.model, now) == REASON_NONE:
                return True
    return False


cdef bint had_its_time(const Exchange *x) noexcept:
    """Whether its version has worked for it, and not for others in the same run above all."""
    if x.phase == PHASE_RUNNING:
        return (<Engine>x.model.engine).run_rows <= CROWDED * x.rows
    return x.phase == PHASE_UPSTREAM


cdef void fail(State server, Exchange *x, int reason, int64_t now) noexcept:
    fail_with(server, x, reason, NULL, now)


cdef void fail_with(State server, Exchange *x, int reason, const char *words, int64_t now) noexcept:
    """The backend did not answer in time, or at all: down the ladder, or a refusal. words: the runtime's, NULL for none."""
    cdef Verdict v
    cdef char cause[CAUSE]
    cdef bint told = words != NULL and x.model == x.asked and x.stream != NULL and is_known(x.stream)
    cdef bint begun = x.phase == PHASE_RUNNING or x.phase == PHASE_UPSTREAM
    if x.mirrors != NULL:
        abandon(server, x, -1, now)
        end_mirror(server, x, NULL, reason == REASON_DEADLINE, now)
        return
    if reason == REASON_DEADLINE and x.fallback_reason == REASON_NONE and not had_its_time(x):
        x.assigned = ASSIGNED_NONE    # what was late was not the version: that is load, which clients make
    if begun and reason == REASON_DEADLINE and x.admitted != NULL:
        learn_usual(x, x.admitted.gate, now, True)
    # what fails at once says nothing of how long the backend takes; what was not done in time took at least that long
    abandon(server, x, at_least(x, now) if reason == REASON_DEADLINE else -1, now)
    x.phase = PHASE_NEW
    if begun and (reason == REASON_DEADLINE or reason == REASON_BACKEND_FAILED):
        mirror(server, x, NULL, now)
    if fall(server, x, reason, now):
        return
    v.reason = reason
    v.retry_ns = 0
    if reason == REASON_DEADLINE:
        snprintf(v.text, VERDICT_TEXT, "deadline exceeded after %.1f ms", (now - x.entered) / 1e6)
    elif reason == REASON_QUEUE_FULL:
        v.retry_ns = -1
        snprintf(v.text, VERDICT_TEXT, "too many requests wait for this model; do not retry at once")
    elif reason == REASON_SHED:
        v.retry_ns = -1
        snprintf(v.text, VERDICT_TEXT, "too many requests wait for this model, and one of higher priority, or of a caller with "
                 "fewer of them, took the place; do not retry at once")
    elif reason == REASON_INFEASIBLE:
        v.retry_ns = -1
        snprintf(v.text, VERDICT_TEXT, "the deadline would pass before this model's turn comes (%.1f ms are left); do not retry "
                 "at once", (x.due - now) / 1e6)
    elif reason == REASON_INFLIGHT_BYTES:
        v.retry_ns = RETRY_NS
        snprintf(v.text, VERDICT_TEXT, "no room for the message: upstreams have not taken those before it; retry shortly")
    elif reason == REASON_OUT_OF_MEMORY:
        v.retry_ns = RETRY_NS
        snprintf(v.text, VERDICT_TEXT, "no room for the answer: it is too large, or clients have not taken those before it")
    elif reason == REASON_CANARY:
        snprintf(v.text, VERDICT_TEXT, "this version of the model does not answer as it should and is out of service until it "
                 "does; ask for another version")
    elif reason == REASON_RUN_MEMORY:
        snprintf(v.text, VERDICT_TEXT, "the model would need more memory for this input than it may have; send a smaller one")
    elif reason == REASON_CRASH:
        v.retry_ns = -1
        snprintf(v.text, VERDICT_TEXT, "this version of the model is not run with inputs of these shapes: a process that did so "
                 "died; do not retry, send other shapes or ask for another version")
    elif reason == REASON_NO_UPSTREAM:
        if x.model != NULL and x.model.pool != NULL and (<Pool>x.model.pool).untrusted():
            snprintf(v.text, VERDICT_TEXT, "no upstream server of this model can be reached: TLS with it fails")
        else:
            snprintf(v.text, VERDICT_TEXT, "no upstream server of this model can be reached")
    elif reason == REASON_UPSTREAM_CREDENTIALS:
        snprintf(v.text, VERDICT_TEXT, "%s", UPSTREAM_REFUSES_US)
    else:
        cause[0] = 0
        if told:
            mw_cause(words, cause, CAUSE)
        snprintf(v.text, VERDICT_TEXT, "the model failed on this input%s%s", <const char *>(b": " if cause[0] else b""), cause)
    refuse_exchange(server, x, &v, now)


cdef int start(State server, Exchange *x, Model *m, int64_t now) noexcept:
    x.model = m
    if not x.promised:            # on a further rung it has its room already
        if must_park(x.stream.conn):
            park(x)
            return REASON_NONE
        promise(x, mw_answer_predict(m.answers, x.rows))
    return admit(server, x, m, now)


cdef void on_room(Conn *c, int64_t now) noexcept:
    """Begins what is parked, as far as the connection has taken what is before it."""
    cdef State server = <State>c.wire.server
    cdef Exchange *x
    cdef Model *m
    cdef int reason
    while c.parked_first != NULL and owed(c) < OWED_CAP:
        x = c.parked_first
        x.references += 1
        unpark(x)
        m = x.model
        promise(x, mw_answer_predict(m.answers, x.rows))
        reason = admit(server, x, m, now)
        if reason != REASON_NONE:
            fail(server, x, reason, now)
        exchange_unref(x)


cdef int admit(State server, Exchange *x, Model *m, int64_t now) noexcept:
    """To the model's backend, or to wait for a place with it; REASON_NONE, or why not."""
    cdef Gate *gate = m.gate
    if gate.on:
        if gate.waiting.count or not mw_concurrency_free(&gate.concurrency):
            return wait(server, x, m, now)
        mw_waiting_pass(&gate.waiting, x.payers.identity, x.share)
        x.stamped = True
    return launch(server, x, m, now)


cdef int launch(State server, Exchange *x, Model *m, int64_t now) noexcept:
    """Into the model's queue, or on its way to an upstream; REASON_NONE, or why not."""
    cdef int reason = REASON_NONE
    cdef uint32_t input, dim
    if m.gate.failing:
        return REASON_CANARY
    if m.gate.contained and contained(x, m):
        if x.stream != NULL:
            server.callers.note_spent(x.stream, 0, 1)    # so that operators are told its name
        return REASON_CRASH
    # decode has asked the model of the request, and no other
    if x.empty and (x.rung or x.mirrors != NULL) and not bears(x, m, x.mirrors != NULL, &input, &dim):
        return REASON_BACKEND_FAILED
    x.launched = now
    x.ran = 0
    x.crowded = False
    if m.gate.on:
        mw_concurrency_enter(&m.gate.concurrency)
        x.admitted = m
    if m.pool == NULL:
        if not server.scheduler.enqueue(x, m):
            reason = REASON_QUEUE_FULL
    elif is_relayed(x):
        reason = relay_request(x, now)
        if reason == REASON_NONE:
            relayed(server, x)
            return reason
    elif not forward(server, x, <Pool>m.pool, None, now):
        reason = REASON_NO_UPSTREAM
    if reason != REASON_NONE:
        leave(server, x, -1, now)
    return reason


cdef void abandon(State server, Exchange *x, int64_t latency, int64_t now) noexcept:
    """Nobody waits for what was started. latency: how long the backend took, negative where that is not known."""
    if x.phase == PHASE_PARKED:
        unpark(x)
    elif x.phase == PHASE_PACKED:
        server.inflater.drop(x.stream)
    elif x.phase == PHASE_WAITING:
        stop_waiting(x)
    elif x.phase == PHASE_UPSTREAM:
        x.attempt += 1
        cancel_call(x)
    else:
        withdraw(x)
    leave(server, x, latency, now)


cdef inline int64_t at_least(const Exchange *x, int64_t now) noexcept:
    """How long the backend has taken at least; negative where that says nothing, since it usually takes longer and the client's
    own deadline is what was too short: many of these would look like a quick backend."""
    cdef const Model *asked = x.asked
    cdef int64_t took = now - x.launched
    if x.admitted == NULL or (asked.deadline and x.client_due >= x.entered + asked.deadline):
        return took
    return took if took > x.admitted.gate.concurrency.latency else -1


cdef inline bint is_relayed(const Exchange *x) noexcept:
    """A message of a stream for a model of upstreams: it goes up the stream's relay, but for a rung's."""
    return x.streaming and x.rung == 0 and x.stream != NULL and x.model.pool != NULL


# ---- admission -----------------------------------------------------------------------------------------------

cdef int wait(State server, Exchange *x, Model *m, int64_t now) noexcept:
    """For a place with the backend; or why it is not worth it."""
    cdef Gate *gate = m.gate
    cdef uint64_t identity = x.payers.identity
    cdef void *shed = NULL
    cdef double turn = (mw_waiting_ahead(&gate.waiting, identity) + 1) * gate.concurrency.interval
    if hopeless(x, gate, now + <int64_t>turn):
        return REASON_INFEASIBLE
    # an unusual input goes behind its own identity's others: were it behind all, their flood would keep it out
    if not mw_waiting_push(
            &gate.waiting, x.priority if gate.across else x.band, 2 * x.priority + x.flagged, identity, x.share, x, &x.waiting,
            &shed):
        return REASON_QUEUE_FULL
    x.phase = PHASE_WAITING
    x.references += 1
    m.counters.waiting += 1
    if is_relayed(x):
        x.stream.waiting = x      # what comes behind it stays behind it
    if shed != NULL:
        stop_waiting(<Exchange *>shed)
        fail(server, <Exchange *>shed, REASON_SHED, now)
    return REASON_NONE


cdef bint hopeless(const Exchange *x, Gate *gate, int64_t begun) noexcept:
    """With the backend from then on, it would not be answered in time, as far as its own caller's requests tell.

    Each refusal for that reason lowers what is expected of them, so that one in a few is tried.
    """
    cdef double *usual = &gate.usual[part_of(x.payers.identity) % <uint32_t>CALLER_PARTS]
    if x.due == 0 or begun + min(gate.concurrency.latency, <int64_t>usual[0]) < x.due:
        return False
    if begun < x.due:
        usual[0] -= usual[0] / 32
    return True


cdef inline void learn_usual(const Exchange *x, Gate *gate, int64_t now, bint missed) noexcept:
    """What its backend has taken; where its deadline was missed, it may have needed twice as long."""
    cdef double *usual = &gate.usual[part_of(x.payers.identity) % <uint32_t>CALLER_PARTS]
    cdef double took = <double>(now - x.launched)
    if usual[0] == 0:
        usual[0] = took
    elif took < usual[0] and not missed:
        usual[0] -= (usual[0] - took) / 2
    elif 2 * took > usual[0]:
        usual[0] += ((2 * took if missed else took) - usual[0]) / 4


cdef void stop_waiting(Exchange *x) noexcept:
    """It has been let in, or shed, or has given up."""
    cdef Model *m = x.model
    mw_waiting_remove(&m.gate.waiting, &x.waiting)
    m.counters.waiting -= 1
    x.phase = PHASE_NEW
    if x.stream != NULL and x.stream.waiting == x:
        x.stream.waiting = NULL
    exchange_unref(x)             # the stream's reference is left, or its deadline's


cdef void leave(State server, Exchange *x, int64_t latency, int64_t now) noexcept:
    """Gives back the place with the backend, where it has one. Whoever waits for it is let in when the tick ends: now,
    nobody may be answered or refused but x."""
    cdef Model *m = x.admitted
    if m == NULL:
        return
    x.admitted = NULL
    mw_concurrency_leave(&m.gate.concurrency, latency, now)
    m.counters.concurrency = mw_concurrency_limit(&m.gate.concurrency)
    if m.gate.waiting.count and not m.gate.ready:
        m.gate.ready = True
        m.gate.next_ready = server.ready
        server.ready = m.gate
        x.wire.places = True


cdef void on_places(PyObject *context, int64_t now) noexcept:
    """Lets in whoever waits, as far as there are places."""
    cdef State server = <State>context
    cdef Gate *gate
    cdef Exchange *x
    cdef int reason
    while server.ready != NULL:
        gate = server.ready
        server.ready = gate.next_ready
        gate.ready = False
        while gate.waiting.count and mw_concurrency_free(&gate.concurrency):
            x = <Exchange *>mw_waiting_pop(&gate.waiting)
            x.references += 1
            stop_waiting(x)
            x.stamped = True
            reason = REASON_INFEASIBLE if hopeless(x, gate, now) else launch(server, x, x.model, now)
            if reason != REASON_NONE:
                fail(server, x, reason, now)
            exchange_unref(x)


cdef void on_failed(State server, Exchange *x, int reason, const char *words, int64_t now) noexcept:
    fail_with(server, x, reason, words, now)


cdef void on_answered(State server, Exchange *x, Buffer *reply, int64_t now) noexcept:
    mw_answer_learn(x.model.answers, reply.size, x.rows)
    answer(server, x, reply, now)


# ---- reply and record ----------------------------------------------------------------------------------------

cdef void answer(State server, Exchange *x, Buffer *reply, int64_t now) noexcept:
    cdef Model *asked = x.asked
    if x.mirrors != NULL:
        end_mirror(server, x, reply, False, now)
        return
    mirror(server, x, reply, now)
    if x.fallback_reason != REASON_NONE:
        asked.counters.fallbacks[x.fallback_reason] += 1
        x.ending.fallback = fallback_name(x.fallback_reason)
    elif asked.recall != NULL and not x.streaming and not x.flagged and not asked.gate.failing:
        (<Recall>asked.recall).remember(server.listener.limiter, x, reply, now)
    if x.flagged and (asked.mode == MODE_TAG or asked.mode == MODE_FALLBACK):
        x.ending.has_anomaly_score = True
        x.ending.anomaly_score = x.score
    if x.assigned != ASSIGNED_NONE:
        sketch(x, reply)
    asked.counters.success += 1
    asked.counters.success_ns += now - x.entered
    x.reply = reply[0]
    memset(reply, 0, sizeof(Buffer))
    conclude(server, x, CODE_OK, now)


# ---- shadows ---------------------------------------------------------------------------------------------------

cdef inline void mirror(State server, Exchange *x, const Buffer *reply, int64_t now) noexcept:
    """The version asked for has answered, or failed (NULL): now its shadows are asked. Nobody waits for them."""
    if x.asked.shadow_link_count and x.fallback_reason == REASON_NONE and not x.mirrored and not x.opaque:
        ask_shadows(server, x, reply, now)


cdef void ask_shadows(State server, Exchange *x, const Buffer *reply, int64_t now) noexcept:
    cdef Model *asked = x.asked
    cdef Exchange *y
    cdef uint32_t i
    for i in range(asked.shadow_link_count):
        y = mirrored(&server.mirrors, &asked.shadow_links[i], x, reply, now - x.launched, now)
        if y == NULL:
            continue
        send_copy(server, y, now)


cdef void send_copy(State server, Exchange *y, int64_t now) noexcept:
    y.references += 1             # until its fate is known here
    watch_deadline(y)
    set_deadline(server, y)
    if launch(server, y, y.model, now) != REASON_NONE:
        end_mirror(server, y, NULL, False, now)
    exchange_unref(y)


cdef void doubt(State server, Exchange *x, uint64_t *count, int64_t now) noexcept:
    """It has failed: that is counted where another version answers it, or none can be asked the same."""
    cdef Model *other = other_version(server.directory, x)
    cdef Exchange *y
    if other == NULL:
        count[0] += 1
        return
    y = crosscheck(&server.checks, &server.mirrors, x, other, count, now)
    if y != NULL:
        send_copy(server, y, now)


cdef void end_mirror(State server, Exchange *y, Buffer *reply, bint due, int64_t now) noexcept:
    """Takes the framed answer, if there is one."""
    if y.shadow_link == NULL:
        end_crosscheck(&server.checks, &server.mirrors, y, reply != NULL)
    else:
        pair(&server.mirrors, y, reply, due, now)
    if reply != NULL:
        release(y.wire, reply)
    clear_deadline(server, y)
    exchange_unref(y)


cdef void end_mirrors(State server) noexcept:
    """Of a server that stops."""
    cdef Exchange *y
    while server.mirrors.first != NULL:
        y = server.mirrors.first
        abandon(server, y, -1, y.wire.now)
        if y.shadow_link == NULL:
            end_crosscheck(&server.checks, &server.mirrors, y, False)
        else:
            drop(&server.mirrors, y)
        clear_deadline(server, y)
        exchange_unref(y)
    drop_samples(&server.mirrors.samples)


# ---- answers passed on -----------------------------------------------------------------------------------------

cdef void take_metadata(Exchange *x, Buffer *initial, Ending *ending) noexcept:
    """An upstream's, for the client's own call: a stream's messages have none."""
    if x.streaming:
        return
    x.initial = initial[0]
    x.ending.metadata = ending.metadata
    memset(initial, 0, sizeof(Buffer))
    memset(&ending.metadata, 0, sizeof(Buffer))


cdef void forwarded(State server, Exchange *x, Buffer *framed, Buffer *initial, Ending *ending, int64_t now) noexcept:
    """An upstream's answer: passed on as it came, but for what the guards have to say."""
    cdef Model *asked = x.asked
    cdef const Rung *rung = NULL
    if x.mirrors != NULL:
        end_mirror(server, x, framed, False, now)
        return
    if x.model != asked:
        rung = &asked.rungs[x.rung - 1]
    mw_answer_learn(x.model.answers, framed.size, x.rows)
    if reply_from_upstream(x, rung, framed):
        take_metadata(x, initial, ending)
        answer(server, x, framed, now)
    else:
        release(x.wire, framed)
        fail(server, x, REASON_OUT_OF_MEMORY, now)


cdef void refused_upstream(
        State server, Exchange *x, int status, bint proven, Buffer *initial, Ending *ending, int64_t now) noexcept:
    """The upstream's own status. What it is to blame for may fall down the ladder; the rest is the client's to see."""
    cdef Counters *c = x.asked.counters
    cdef Verdict v
    if x.mirrors != NULL:
        end_mirror(server, x, NULL, status == CODE_DEADLINE_EXCEEDED, now)
        return
    if refuses_us(x.stream, status, proven):
        fail(server, x, REASON_UPSTREAM_CREDENTIALS, now)
        return
    if status == CODE_NOT_FOUND or status == CODE_INVALID_ARGUMENT:
        x.model.doubted = True
    if status in (CODE_UNKNOWN, CODE_DEADLINE_EXCEEDED, CODE_RESOURCE_EXHAUSTED, 10, CODE_INTERNAL, CODE_UNAVAILABLE, 15) or (
            status == CODE_NOT_FOUND and not x.named and not x.asked.undecoded):
        abandon(server, x, -1, now)
        x.phase = PHASE_NEW
        mirror(server, x, NULL, now)
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
    take_metadata(x, initial, ending)
    x.ending.message = ending.message
    x.ending.details = ending.details
    ending.message = NULL
    ending.details = NULL
    conclude(server, x, status, now)


cdef void refuse_exchange(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef Counters *c = server.other if x.asked == NULL else x.asked.counters
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
    """It has gone up, and its place in the stream is free: its answers, any number of them, go down as they come. It counts as
    served, and modelward_native.backend.unanswered settles it."""
    cdef Counters *c = x.asked.counters
    clear_deadline(server, x)
    release(x.wire, &x.body)
    release(x.wire, &x.converted)
    c.codes[<int>CODE_OK] += 1
    c.success += 1
    c.queued += 1
    server.gauges.inflight -= 1
    x.phase = PHASE_DONE
    x.reply_ready = True
    send_ready(x.stream)


cdef void record(State server, Exchange *x, int code, int64_t now) noexcept:
    cdef Counters *c = server.other if x.asked == NULL else x.asked.counters
    cdef int outcome = OUTCOME_FAILED
    if code == CODE_OK:
        outcome = OUTCOME_OK if x.fallback_reason == 0 else OUTCOME_FALLBACK
    elif x.launched == 0 and code != CODE_DEADLINE_EXCEEDED and code != CODE_CANCELLED:
        outcome = OUTCOME_REFUSED
    c.codes[code] += 1
    mw_histogram_record_ns(&c.request[outcome], now - x.entered)
    server.gauges.inflight -= 1


cdef void conclude(State server, Exchange *x, int code, int64_t now) noexcept:
    """The exchange has its outcome: it is recorded, and leaves in its stream's order."""
    cdef uint64_t *count = NULL
    record(server, x, code, now)
    if x.assigned != ASSIGNED_NONE:
        count = testify(x, code, now)
    x.phase = PHASE_DONE
    x.reply_ready = True
    clear_deadline(server, x)
    if code == CODE_OK and x.admitted != NULL:
        learn_usual(x, x.admitted.gate, now, False)
    leave(server, x, now - x.launched if code == CODE_OK else -1, now)
    if count != NULL:
        doubt(server, x, count, now)
    if x.stream != NULL:
        promise(x, x.reply.size)
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
