"""The life of a request: the order of the rooms is written here and nowhere else.

wire (h2, stream, grpc) hands over headers and whole messages; each room passes the exchange on or ends it with a verdict;
every verdict leaves through `refuse_exchange` or the ladder, every answer through `answer`, every finished exchange
through `record`.
"""
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset, strlen

import difflib

from native.batch cimport Scheduler, withdraw
from native.call cimport Call, call_begin, call_of
from native.deadline cimport Wheel, mw_timer, mw_timer_init, mw_timer_pending, timer_add, timer_cancel
from native.exchange cimport (
    METHOD_COLD, METHOD_INFER, METHOD_STREAM_INFER, PHASE_DONE, PHASE_NEW, Buffer, Ending, Exchange, Stream, Wire,
    exchange_new, exchange_unref)
from native.grpc cimport buffer_free, ending_of
from native.h2 cimport Connection, Listener, flush_all
from native.histogram cimport mw_histogram_record_ns, mw_histogram_record_score
from native.limit cimport (
    MW_ADMITTED, MW_LEVEL_IDENTITY, MW_LEVEL_MODEL, MW_LEVEL_PEER, MW_LEVEL_TOTAL, MW_RETRY_NEVER, Limiter, make_rate,
    mw_meter)
from native.model cimport *
from native.oip cimport (
    drop_tensors, hold, peek_model, scan, scanned_id, scanned_model, scanned_timeout_us, scanned_version, take_tensors)
from native.reply cimport fallback_name, reply_from_constants, reply_stream_error
from native.score cimport (
    Kernel, mw_gather, mw_gather_begin, mw_gather_row, mw_score, mw_score_explain, mw_score_row)
from native.served cimport Served
from native.session cimport mw_now_ns
from native.stream cimport finish, open_window, refuse, refuse_for, send_message
from native.tensor cimport MW_MAX_TENSORS, mw_span, mw_view
from native.verdict cimport *

cdef enum:
    SCORED_ROWS = 256             # rows of one request that are scored; of more, so many evenly spaced ones
    SAMPLE = 64                   # every so many messages the stages are timed: a clock reading costs 25 ns
    NEAR_NAMES = 3
    COLD_CALLS = 1024             # coroutines at a time: a Watch or a reflection stream may stay open for long

cdef int64_t SECOND = 1000000000
cdef int64_t MILLISECOND = 1000000

ctypedef bint (*Room)(Server, Exchange *, Verdict *, int64_t) noexcept

# The rooms a message goes through before its model runs, in this order:
cdef Room ROOMS[3]
cdef int ROOM_STAGE[3]
ROOMS[0] = room_limit             # first the budgets: nothing is spent on a request that has none left
ROOM_STAGE[0] = STAGE_LIMIT
ROOMS[1] = room_decode            # then is it a request at all, and one this model takes
ROOM_STAGE[1] = STAGE_DECODE
ROOMS[2] = room_score             # then is it one of the kind the model was trained for
ROOM_STAGE[2] = STAGE_SCORE
# after them: `route` puts it into its model's queue under its deadline (batch.pyx, deadline.pyx), and whatever comes of
# that is `answer`ed, falls down the ladder (`fall`), or is refused. The peer's room is before all of them, at the headers.


# ---- peer: at the headers, before a byte of the body is looked at -----------------------------------------------------

cdef void on_headers(Stream *s, int64_t now) noexcept:
    cdef Server server = <Server>s.conn.wire.server
    cdef int64_t retry
    if s.timeout_malformed:
        refuse_for(s, REASON_MALFORMED_TIMEOUT, "grpc-timeout must be 1 to 8 digits and one of H M S m u n")
        return
    if s.method == METHOD_COLD:
        server.begin_cold(s)
        return
    if server.limited:
        retry = server.listener.limiter.peek_peer(s.conn.peer, now)
        if retry > 0:
            refuse_limit(s, MW_LEVEL_PEER, retry)


cdef void limit_verdict(Verdict *v, int level, int64_t retry) noexcept:
    cdef const char *whose
    if level == MW_LEVEL_PEER:
        v.reason = REASON_PEER_LIMIT
        whose = "this peer's"
    elif level == MW_LEVEL_IDENTITY:
        v.reason = REASON_IDENTITY_LIMIT
        whose = "this identity's"
    elif level == MW_LEVEL_MODEL:
        v.reason = REASON_MODEL_LIMIT
        whose = "the model's"
    else:
        v.reason = REASON_TOTAL_LIMIT
        whose = "the server's"
    v.retry_ns = max(retry, <int64_t>1)
    snprintf(v.text, VERDICT_TEXT, "over %s rate limit; retry in %.3f s", whose, max(retry / 1e9, 0.001))


cdef void refuse_limit(Stream *s, int level, int64_t retry) noexcept:
    cdef Verdict v
    limit_verdict(&v, level, retry)
    on_refused(s, &v)
    refuse(s, &v)


cdef void on_refused(Stream *s, Verdict *verdict) noexcept:
    """The wire or the peer's room has refused: no model is known."""
    cdef Server server = <Server>s.conn.wire.server
    server.other.refusals[verdict.reason] += 1
    server.other.codes[code_of(verdict.reason)] += 1


# ---- limit ---------------------------------------------------------------------------------------------------

cdef bint room_limit(Server server, Exchange *x, Verdict *v, int64_t now) noexcept:
    """All levels are checked before any is charged."""
    cdef mw_span message, name
    cdef Entry *entry
    cdef mw_meter *meter = NULL
    cdef int64_t retry = 0
    cdef int level
    message.data = x.body.data
    message.size = x.body.size
    if peek_model(message, &name):
        entry = server.find(name)
        if entry != NULL:
            x.asked = entry.versions[entry.count - 1]
            # one meter for all versions: the limit is the model's
            if (<Model *>x.asked).limit.rate.interval_ns:
                meter = &(<Model *>x.asked).limit
    if meter == NULL and not server.limited:
        return True
    level = server.listener.limiter.admit(x.stream.conn.peer, x.stream.conn.identity, meter, 1, now, &retry)
    if level == MW_ADMITTED:
        return True
    limit_verdict(v, level, retry)
    return False


# ---- decode --------------------------------------------------------------------------------------------------

cdef bint room_decode(Server server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef mw_span message, name, version
    cdef Entry *entry
    cdef Model *m
    message.data = x.body.data
    message.size = x.body.size
    if not scan(message, v):
        return False
    x.id = scanned_id()
    name = scanned_model()
    version = scanned_version()
    entry = server.find(name)
    if entry == NULL:
        server.unknown_model(name, v)
        return False
    m = entry.versions[entry.count - 1]
    if version.size:
        m = version_of(entry, version)
        if m == NULL:
            server.unknown_version(entry, version, v)
            return False
    x.asked = m
    if not hold(x, m, v):
        return False
    take_deadline(x)
    return True


cdef Model *version_of(Entry *entry, mw_span version) noexcept:
    cdef uint32_t i
    for i in range(entry.count):
        if entry.versions[i].version.size == version.size and memcmp(
                entry.versions[i].version.data, version.data, version.size) == 0:
            return entry.versions[i]
    return NULL


# ---- score ---------------------------------------------------------------------------------------------------

cdef bint room_score(Server server, Exchange *x, Verdict *v, int64_t now) noexcept:
    """The request's score is that of its most unusual row."""
    cdef Model *m = <Model *>x.asked
    cdef mw_view views[<int>MW_MAX_TENSORS]
    cdef mw_gather gather
    cdef mw_score worst, score
    cdef int64_t row = 0, worst_row = -1, step = 1, next_row = 0
    cdef int i
    if m.profile == NULL:
        return True
    for i in range(m.profile.inputs):
        views[i] = x.view[m.profile_input[i]]
    if mw_gather_begin(&gather, m.profile, views, x.rows) < 0:
        return True               # not the shape the profile was fitted on: there is nothing to compare it with
    if x.rows > SCORED_ROWS:
        step = (x.rows + SCORED_ROWS - 1) // SCORED_ROWS
        m.counters.scored_part += 1
    while mw_gather_row(&gather, m.profile_row) == 1:
        if row == next_row:
            next_row += step
            mw_score_row(m.profile, m.profile_row, m.profile_scratch, &score)
            if worst_row < 0 or score.score > worst.score:
                worst = score
                worst_row = row
                if score.p_value <= m.false_positive_rate:
                    memcpy(m.profile_worst, m.profile_row, m.profile_row_bytes)
        row += 1
    if worst_row < 0:
        return True
    x.has_score = True
    x.score = worst.score
    x.p_value = worst.p_value
    mw_histogram_record_score(&m.counters.score, worst.score)
    if worst.p_value > m.false_positive_rate:
        return True
    x.flagged = True
    m.counters.anomalies += 1
    server.note(m, x, &worst, worst_row, now)
    if m.mode == MODE_REJECT or m.mode == MODE_FALLBACK:
        v.reason = REASON_ANOMALY
        v.retry_ns = 0
        snprintf(v.text, VERDICT_TEXT, "the input is unlike the model's training data (anomaly score %.4g, p-value %.3g)",
                 worst.score, worst.p_value)
        return False
    return True


# ---- from a message to an exchange -----------------------------------------------------------------------------

cdef void on_message(Stream *s, Buffer *message, int64_t now) noexcept:
    cdef Server server = <Server>s.conn.wire.server
    cdef Exchange *x
    cdef Verdict v
    cdef int i
    cdef bint timed
    cdef int64_t before = 0, after
    if s.method == METHOD_COLD:
        call_of(s).take(message)
        return
    x = exchange_new(s.conn.wire)
    if x == NULL:
        refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")
        return
    x.stream = s
    x.body = message[0]
    memset(message, 0, sizeof(Buffer))
    x.streaming = s.method == METHOD_STREAM_INFER
    x.entered = now if x.streaming else s.entered
    if s.last != NULL:
        s.last.next_in_stream = x
    else:
        s.first = x
    s.last = x
    s.inflight += 1
    server.inflight += 1
    mw_timer_init(&x.deadline, <void (*)(mw_timer *, int64_t) noexcept nogil>on_deadline)
    server.sample += 1
    timed = server.sample % SAMPLE == 0
    if timed:
        before = mw_now_ns()
    for i in range(3):
        if not ROOMS[i](server, x, &v, now):
            if v.reason == REASON_ANOMALY and (<Model *>x.asked).mode == MODE_FALLBACK and fall(server, x, REASON_ANOMALY, now):
                return
            refuse_exchange(server, x, &v, now)
            return
        if timed:
            after = mw_now_ns()
            if x.asked != NULL:
                mw_histogram_record_ns(&(<Model *>x.asked).counters.stage[ROOM_STAGE[i]], after - before)
            before = after
    route(server, x, now)


cdef int64_t client_margin(int64_t timeout) noexcept:
    """How long before the client's own deadline an answer must leave: it has to travel, and the wheel ticks in ms."""
    return min(max(timeout // 10, 2 * MILLISECOND), min(20 * MILLISECOND, timeout // 2))


cdef void take_deadline(Exchange *x) noexcept:
    """The earliest of grpc-timeout, the parameter "timeout" and the model's own; absolute, from entry."""
    cdef Model *m = <Model *>x.asked
    cdef int64_t due = INT64_MAX, timeout
    if x.stream.timeout:
        due = x.stream.entered + x.stream.timeout - client_margin(x.stream.timeout)
    if scanned_timeout_us() > 0:
        timeout = min(<int64_t>scanned_timeout_us(), INT64_MAX // 4000) * 1000
        due = min(due, x.entered + timeout - client_margin(timeout))
    if m.deadline:
        due = min(due, x.entered + m.deadline)
    x.client_due = 0 if due == INT64_MAX else due
    x.due = x.client_due
    # a model further down the ladder needs time of its own: the model asked for gets three quarters
    if x.due and m.rung_count and m.rungs[0].model != NULL:
        x.due = x.entered + (x.due - x.entered) // 4 * 3


cdef void route(Server server, Exchange *x, int64_t now) noexcept:
    """Into the queue of the version asked for, under its deadline."""
    if x.due and x.due <= now:
        fail(server, x, REASON_DEADLINE, now)
        return
    if x.due:
        set_deadline(server, x)
    if not server.scheduler.enqueue(x, <Model *>x.asked):
        fail(server, x, REASON_QUEUE_FULL, now)


# ---- deadlines -----------------------------------------------------------------------------------------------

cdef void set_deadline(Server server, Exchange *x) noexcept:
    if not mw_timer_pending(&x.deadline):
        x.references += 1
    else:
        timer_cancel(server.listener.wheel, &x.deadline)
    timer_add(server.listener.wheel, &x.deadline, x.due)


cdef void clear_deadline(Server server, Exchange *x) noexcept:
    if mw_timer_pending(&x.deadline):
        timer_cancel(server.listener.wheel, &x.deadline)
        exchange_unref(x)


cdef void on_deadline(mw_timer *timer, int64_t now) noexcept:
    cdef Exchange *x = <Exchange *>timer
    cdef Server server = <Server>x.wire.server
    x.wire.now = now
    if x.phase != PHASE_DONE:
        fail(server, x, REASON_DEADLINE, now)
    exchange_unref(x)


cdef void on_expired(void *server, Exchange *x, int64_t now) noexcept:
    """Found in the queue after its time: it never reaches a backend."""
    fail(<Server>server, x, REASON_DEADLINE, now)


# ---- the ladder ----------------------------------------------------------------------------------------------

cdef bint fall(Server server, Exchange *x, int reason, int64_t now) noexcept:
    """The next rung; False where the ladder has none left."""
    cdef Model *m = <Model *>x.asked
    cdef Rung *rung
    cdef Buffer reply
    if x.fallback_reason == REASON_NONE:
        x.fallback_reason = reason
    while x.rung < m.rung_count:
        rung = &m.rungs[x.rung]
        x.rung += 1
        if rung.model == NULL:
            memset(&reply, 0, sizeof(reply))
            if reply_from_constants(x, rung, &reply):
                answer(server, x, &reply, now)
                return True
        elif (x.client_due == 0 or x.client_due > now) and remap(x, m, rung):
            x.due = x.client_due
            if x.due:
                set_deadline(server, x)
            x.alone = False
            if server.scheduler.enqueue(x, rung.model):
                return True
    return False


cdef bint remap(Exchange *x, Model *asked, Rung *rung) noexcept:
    """Puts the tensors into the order of the rung's model."""
    cdef mw_view *view = x.view
    cdef int64_t *dims = x.dims
    cdef mw_view inline_view[4]
    cdef int64_t inline_dims[16]
    cdef bint owned_view = x.view != x.inline_view, owned_dims = x.dims != x.inline_dims, good
    cdef size_t total = 0, at = 0, from_at
    cdef uint32_t i, k
    if not owned_view:
        memcpy(inline_view, view, sizeof(inline_view))
        view = inline_view
    if not owned_dims:
        memcpy(inline_dims, dims, sizeof(inline_dims))
        dims = inline_dims
    for i in range(rung.model.input_count):
        total += rung.model.inputs[i].rank
    good = take_tensors(x, rung.model.input_count, total)
    if good:
        for i in range(rung.model.input_count):
            from_at = 0
            for k in range(rung.inputs[i]):
                from_at += asked.inputs[k].rank
            x.view[i] = view[rung.inputs[i]]
            memcpy(x.dims + at, dims + from_at, rung.model.inputs[i].rank * sizeof(int64_t))
            at += rung.model.inputs[i].rank
    if owned_view:
        free(view)
    if owned_dims:
        free(dims)
    return good


cdef void fail(Server server, Exchange *x, int reason, int64_t now) noexcept:
    """The backend did not answer in time, or at all: down the ladder, or a refusal."""
    cdef Verdict v
    withdraw(x)
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
        snprintf(v.text, VERDICT_TEXT, "out of memory")
    else:
        snprintf(v.text, VERDICT_TEXT, "the model failed on this input")
    refuse_exchange(server, x, &v, now)


cdef void on_failed(void *server, Exchange *x, int reason, int64_t now) noexcept:
    fail(<Server>server, x, reason, now)


cdef void on_answered(void *server, Exchange *x, Buffer *reply, int64_t now) noexcept:
    answer(<Server>server, x, reply, now)


# ---- reply and record ----------------------------------------------------------------------------------------

cdef void answer(Server server, Exchange *x, Buffer *reply, int64_t now) noexcept:
    cdef Model *asked = <Model *>x.asked
    if x.fallback_reason != REASON_NONE:
        asked.counters.fallbacks[x.fallback_reason] += 1
        x.ending.fallback = fallback_name(x.fallback_reason)
    if x.flagged and (asked.mode == MODE_TAG or asked.mode == MODE_FALLBACK):
        x.ending.has_anomaly_score = True
        x.ending.anomaly_score = x.score
    asked.counters.success += 1
    asked.counters.success_ns += now - x.entered
    x.reply = reply[0]
    memset(reply, 0, sizeof(Buffer))
    conclude(server, x, CODE_OK, now)


cdef void refuse_exchange(Server server, Exchange *x, const Verdict *v, int64_t now) noexcept:
    cdef Counters *c = &server.other if x.asked == NULL else &(<Model *>x.asked).counters
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


cdef void record(Server server, Exchange *x, int code, int64_t now) noexcept:
    cdef Counters *c = &server.other if x.asked == NULL else &(<Model *>x.asked).counters
    c.codes[code] += 1
    mw_histogram_record_ns(&c.request, now - x.entered)
    server.inflight -= 1


cdef void conclude(Server server, Exchange *x, int code, int64_t now) noexcept:
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
    if s.remote_ended and s.first == NULL:
        memset(&ending, 0, sizeof(ending))
        finish(s, &ending)


cdef void on_ended(Stream *s, int64_t now) noexcept:
    if s.method == METHOD_COLD:
        call_of(s).end()
    elif s.method == METHOD_STREAM_INFER:
        end_stream(s)


cdef void on_drained(Stream *s) noexcept:
    cdef Call call = call_of(s)
    if call is not None:
        call.drained()


cdef void on_gone(Stream *s) noexcept:
    """The client let go: its exchanges are cancelled, and their results, should they still come, are late."""
    cdef Server server = <Server>s.conn.wire.server
    cdef Exchange *x
    cdef Call call = call_of(s)
    while s.first != NULL:
        x = s.first
        s.first = x.next_in_stream
        x.stream = NULL
        if x.phase != PHASE_DONE:
            withdraw(x)
            record(server, x, CODE_CANCELLED, s.conn.wire.now)
            x.phase = PHASE_DONE
            clear_deadline(server, x)
        exchange_unref(x)
    s.last = NULL
    s.inflight = 0
    if call is not None:
        call.gone()


# ---- the server ----------------------------------------------------------------------------------------------

cdef int order(mw_span a, mw_span b) noexcept:
    cdef int c = memcmp(a.data, b.data, min(a.size, b.size))
    if c:
        return c
    return (a.size > b.size) - (a.size < b.size)


cdef class Server:
    """The data plane of one process: a listener, its models, their limits.

    models: a list with, for each model, the list of its Served versions, ascending; the last answers requests that name
    no version.
    """

    def __cinit__(self, Wheel wheel, Limiter limiter, list models):
        cdef Entry *entry
        cdef uint32_t i
        self.listener = Listener(wheel, limiter)
        self.scheduler = Scheduler()
        self.scheduler.wire = &self.listener.wire
        self.scheduler.server = <void *>self
        self.scheduler.outcome.answered = on_answered
        self.scheduler.outcome.failed = on_failed
        self.scheduler.outcome.expired = on_expired
        self.listener.wire.server = <void *>self
        self.listener.wire.hooks.headers = on_headers
        self.listener.wire.hooks.message = on_message
        self.listener.wire.hooks.ended = on_ended
        self.listener.wire.hooks.gone = on_gone
        self.listener.wire.hooks.drained = on_drained
        self.listener.wire.hooks.refused = on_refused
        self.limited = limiter.peer.interval_ns or limiter.identity.interval_ns or limiter.total.rate.interval_ns
        wheel.after = after_timers
        wheel.after_context = <void *>self
        self.tasks = set()
        self.methods = frozenset()
        self.served = []
        self.entries = <Entry *>calloc(max(len(models), 1), sizeof(Entry))
        if self.entries == NULL:
            raise MemoryError
        for versions in sorted(models, key=lambda versions: versions[0].name.encode()):
            entry = &self.entries[self.entry_count]
            entry.versions = <Model **>calloc(len(versions), sizeof(void *))
            if entry.versions == NULL:
                raise MemoryError
            self.entry_count += 1
            for i, version in enumerate(versions):
                entry.versions[i] = &(<Served>version).model
                self.served.append(version)
            entry.count = len(versions)
            entry.name = entry.versions[0].name

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.entry_count):
            free(self.entries[i].versions)
        free(self.entries)

    def start(self, loop, dispatch, methods):
        """Joins the running loop. dispatch: coroutine function that answers a native.call.Call; methods: paths it knows."""
        self.loop = loop
        self.dispatch = dispatch
        self.methods = frozenset(methods)
        self.scheduler.start(loop)

    def stop(self):
        """Cancels cold calls, aborts connections, leaves the loop."""
        for task in list(self.tasks):
            task.cancel()
        for connection in list(self.listener.connections):
            connection.abort()
        self.scheduler.stop()

    def drain(self):
        """No new connections or streams; what is under way is finished. `busy` tells when that is done."""
        self.listener.wire.draining = True
        for connection in list(self.listener.connections):
            connection.drain()
        flush_all(&self.listener.wire)

    @property
    def busy(self) -> bool:
        """A request is under way."""
        return self.inflight > 0

    cdef Entry *find(self, mw_span name) noexcept:
        cdef uint32_t low = 0, high = self.entry_count, middle
        cdef int c
        while low < high:
            middle = (low + high) // 2
            c = order(name, self.entries[middle].name)
            if c == 0:
                return &self.entries[middle]
            if c < 0:
                high = middle
            else:
                low = middle + 1
        return NULL

    cdef void unknown_model(self, mw_span name, Verdict *v) noexcept:
        cdef bytes text
        v.reason = REASON_UNKNOWN_MODEL
        v.retry_ns = 0
        snprintf(v.text, VERDICT_TEXT, "unknown model")
        # a search among names costs more than the refusal: strangers get at most a hundred a second
        if self.listener.wire.now - self.suggested < SECOND // 100:
            return
        self.suggested = self.listener.wire.now
        try:
            asked = name.data[:min(name.size, <size_t>64)].decode("utf-8", "ignore")
            names = [self.entries[i].name.data[:self.entries[i].name.size].decode() for i in range(self.entry_count)]
            near = difflib.get_close_matches(asked, names, NEAR_NAMES)
            hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"served are: {', '.join(map(repr, names[:NEAR_NAMES]))}" + (
                f" and {len(names) - NEAR_NAMES} more" if len(names) > NEAR_NAMES else "")
            text = f"unknown model {asked!r}; {hint}".encode()[:VERDICT_TEXT - 1].decode("utf-8", "ignore").encode()
            memcpy(v.text, <const char *>text, len(text) + 1)
        except MemoryError:
            pass                  # the short text is already there

    cdef void unknown_version(self, Entry *entry, mw_span version, Verdict *v) noexcept:
        cdef uint32_t i
        cdef size_t n
        v.reason = REASON_UNKNOWN_VERSION
        v.retry_ns = 0
        n = snprintf(v.text, VERDICT_TEXT, "model '%.*s' has no version '%.*s'; it has:", <int>min(entry.name.size, <size_t>128),
                     <const char *>entry.name.data, <int>min(version.size, <size_t>16), <const char *>version.data)
        for i in range(min(entry.count, <uint32_t>8)):
            n += snprintf(v.text + n, VERDICT_TEXT - n, " %.*s", <int>min(entry.versions[i].version.size, <size_t>20),
                          <const char *>entry.versions[i].version.data)

    cdef void begin_cold(self, Stream *s) noexcept:
        cdef Call call
        cdef Verdict v
        try:
            path = (<list><object>s.call)[0][1]
            if path not in self.methods:
                refuse_for(s, REASON_UNKNOWN_METHOD, "unknown method")
                return
            if len(self.tasks) >= COLD_CALLS:
                v.reason = REASON_QUEUE_FULL
                v.retry_ns = -1
                snprintf(v.text, VERDICT_TEXT, "too many calls of this kind are open; do not retry at once")
                on_refused(s, &v)
                refuse(s, &v)
                return
            call = call_begin(s, (<Connection>s.conn.owner).peer_name)
            call.task = self.loop.create_task(self.dispatch(call))
            self.tasks.add(call.task)
            call.task.add_done_callback(self.tasks.discard)
        except MemoryError:
            refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")

    cdef void note(self, Model *m, Exchange *x, const mw_score *score, int64_t row, int64_t now) noexcept:
        cdef Event *e = &self.ring[self.event_count % EVENTS]
        cdef size_t n = min(x.id.size, sizeof(e.id) - 1)
        self.event_count += 1
        e.model = m
        e.at = now
        e.score = score.score
        e.p_value = score.p_value
        e.flags = score.flags
        e.row = row
        memcpy(e.id, x.id.data, n)
        e.id[n] = 0
        mw_score_explain(m.profile, m.profile_worst, score, e.feature, e.deviation)

    def events(self) -> list:
        """Anomalous requests since the last call, at most EVENTS of them; the first item says how many were overwritten."""
        cdef Event *e
        cdef uint64_t i, first = self.events_read
        if self.event_count - first > EVENTS:
            first = self.event_count - EVENTS
        found = [first - self.events_read]
        for i in range(first, self.event_count):
            e = &self.ring[i % EVENTS]
            found.append({
                "model": e.model.name.data[:e.model.name.size].decode(),
                "version": e.model.version.data[:e.model.version.size].decode(),
                "at_ns": e.at, "score": e.score, "p_value": e.p_value, "flags": e.flags, "row": e.row,
                "id": e.id.decode("utf-8", "replace"),
                "features": [(e.feature[k], e.deviation[k]) for k in range(3) if e.feature[k] >= 0]})
        self.events_read = self.event_count
        return found

    def totals(self) -> dict:
        """Counters that belong to no served model, and gauges; the models' own are theirs (Served.totals)."""
        cdef int i
        return {
            "codes": {i: self.other.codes[i] for i in range(<int>CODES) if self.other.codes[i]},
            "refusals": {name_of(i).decode(): self.other.refusals[i] for i in range(<int>REASONS) if self.other.refusals[i]},
            "inflight": self.inflight, "connections": self.listener.wire.connections,
            "inflight_bytes": self.listener.wire.inflight_bytes,
        }


cdef void after_timers(void *context, int64_t now) noexcept:
    """Fallbacks and refusals of this round leave in one write per connection."""
    cdef Server server = <Server>context
    server.listener.wire.now = now
    if not server.listener.wire.batch_pending:
        flush_all(&server.listener.wire)
