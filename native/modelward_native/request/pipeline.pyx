"""The life of a request: the order of the rooms is written here and nowhere else.

wire (h2, stream, grpc) hands over headers and whole messages; each room passes the exchange on or ends it with a verdict;
outcome.pyx says what becomes of it then.
"""
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy, memset, strlen

from modelward_native.access.access cimport IDENTIFIED, Access, leave
from modelward_native.wire.call cimport Call, call_begin, call_of
from modelward_native.wire.compression cimport INFLATED_PART, INFLATED_WHOLE
from modelward_native.timer.deadline cimport Wheel
from modelward_native.backend.engine cimport Engine
from modelward_native.request.exchange cimport (
    METHOD_COLD, METHOD_INFER, METHOD_REFUSED, METHOD_RELAY, METHOD_STREAM_INFER, OPAQUE_SHARED, PHASE_DONE, PHASE_NEW,
    PHASE_PACKED, Exchange, Stream, exchange_new, exchange_unref, sticky_of)
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.grpc cimport buffer_reserve
from modelward_native.wire.h2 cimport Connection, flush_all
from modelward_native.wire.headers cimport keep_first, keep_header, passed_on
from modelward_native.telemetry.histogram cimport mw_histogram_record_ns, mw_histogram_record_score
from modelward_native.wire.holding cimport count_bytes, forget_holder, holder_of
from modelward_native.access.identity cimport Identity, PERMIT_INFER, PERMIT_PASSTHROUGH, PERMIT_SHADOW, PERMIT_STREAM, may
from modelward_native.wire.inflater cimport packed_free, take_unpacked
from modelward_native.wire.packed cimport Packed
from modelward_native.limits.limit cimport (
    MW_ADMITTED, MW_COST_LEAST_NS, MW_LEVEL_IDENTITY, MW_LEVEL_MODEL, MW_LEVEL_PEER, Limiter, Payers, mw_cost_predict,
    mw_level, mw_meter)
from modelward_native.shadow.mirror cimport pace
from modelward_native.shadow.samples cimport samples_taken
from modelward_native.request.model cimport *
from modelward_native.request.name cimport LONGEST_NAME
from modelward_native.request.oip cimport mw_oip_first_model_name, mw_oip_model_name, mw_scan
from modelward_native.request.outcome cimport (
    abandon, admit, clear_deadline, end_mirrors, end_stream, fail, fall,
    record, refuse_exchange, set_deadline, start, watch_deadline)
from modelward_native.wire.parking cimport promise
from modelward_native.score.profile cimport mw_gather, mw_gather_begin, mw_gather_row, mw_score, mw_score_row
from modelward_native.backend.relay cimport (
    relay_begin, relay_cancel, relay_drained, relay_half_close, relay_send, relays_to)
from modelward_native.request.resolve cimport ask
from modelward_native.request.route cimport Directory, Entry, assigned_by, is_hurried
from modelward_native.request.scan cimport scan, scan_envelope
from modelward_native.request.served cimport Served
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.request.state cimport State
from modelward_native.wire.stream cimport (
    finish, inflation_verdict, open_window, proceed, refuse, refuse_for, release, send_message)
from modelward_native.request.tensor cimport MW_MAX_TENSORS, mw_span, mw_view
from modelward_native.backend.pool cimport Pool
from modelward_native.request.validate cimport validate
from modelward_native.request.verdict cimport *

cdef enum:
    SCORED_ROWS = 256             # rows of one request that are scored; of more, so many evenly spaced ones
    SAMPLE = 64                   # every so many messages the stages are timed: a clock reading costs 25 ns
    ORDINARY = 5                  # priority of a request that names none, as Triton's: 1 goes first
    LOWEST = 9
    COLD_CALLS = 1024             # coroutines at a time that answer once, and as many that answer streams, such as a Watch
    COLD_OF_PEER = 128            # of one peer, and of one identity
    PROBE_PLACES = 256            # of those that answer once: for calls that are open to every caller
    PROBES_PER_SECOND = 100       # of one peer, besides what it may send otherwise
    PROBES_AT_ONCE = 200
    PROBING_PEERS = 65536

cdef int64_t MILLISECOND = 1000000
cdef int64_t LEARN_RETRY = 500 * MILLISECOND
cdef int64_t ROOM_RETRY = 100 * MILLISECOND
cdef int64_t UNREAD_NS = 100000           # of backend time: what a cold call or an unread message counts as

# False with a verdict; with REASON_NONE in it where the exchange has gone another way, and comes back or ends by that.
ctypedef bint (*Room)(State, Exchange *, Verdict *, int64_t) noexcept

# The rooms a message goes through before its model runs, in this order:
cdef enum:
    ROOM_COUNT = 5
    ROOM_UNPACK = 2
cdef Room ROOMS[ROOM_COUNT]
cdef int ROOM_STAGE[ROOM_COUNT]
ROOMS[0] = room_access            # first may they: whoever may not takes nothing from anybody's budget
ROOM_STAGE[0] = STAGE_ACCESS
ROOMS[1] = room_limit             # then the budgets: nothing is spent on a request that has none left
ROOM_STAGE[1] = STAGE_LIMIT
ROOMS[ROOM_UNPACK] = room_unpack  # then a compressed message is inflated, which costs more than all before
ROOM_STAGE[ROOM_UNPACK] = -1      # no stage of a message that is not compressed
ROOMS[3] = room_decode            # then is it a request at all, and one this model takes
ROOM_STAGE[3] = STAGE_DECODE
ROOMS[4] = room_score             # then is it one of the kind the model was trained for
ROOM_STAGE[4] = STAGE_SCORE
# after them: `route` puts it into its model's queue under its deadline (batch.pyx, deadline.pyx), and whatever comes of
# that is `answer`ed, falls down the ladder (`fall`), or is refused. Before all of them, at the headers: the peer's room, and who
# calls.


# ---- peer: at the headers, before a byte of the body is looked at -----------------------------------------------------

cdef void on_headers(Stream *s, int64_t now) noexcept:
    cdef State server = <State>s.conn.wire.server
    cdef int64_t retry
    if s.timeout_malformed:
        refuse_for(s, REASON_MALFORMED_TIMEOUT, "grpc-timeout must be 1 to 8 digits and one of H M S m u n")
        return
    if is_open(server, s):
        on_identified(s, now)
        return
    if server.limited:
        retry = server.listener.limiter.peek_peer(s.peer, s.peer_limit, now)
        if retry > 0:
            refuse_limit(server, s, MW_LEVEL_PEER, retry)
            return
    if server.access is None or server.access.identify(s, now) == IDENTIFIED:
        on_identified(s, now)


# ---- access: who calls, before the first byte of a body; what they may, when a message says which model --------------------

cdef bint is_open(State server, Stream *s) noexcept:
    """Health is for everybody: an orchestrator has no credentials, and comes from the address that it looks after."""
    return s.method == METHOD_COLD and (<Server>server).methods.get((<list><object>s.call)[0][1]) == 0


cdef void on_identified(Stream *s, int64_t now) noexcept:
    """Goes on with a stream whose caller is known, or needs not be."""
    cdef State server = <State>s.conn.wire.server
    cdef Verdict v
    if s.caller != NULL:
        forget_holder(s)
        if s.caller.budget:
            s.budget = s.caller.budget
            s.fleet = s.caller.fleet
        s.permits = kind_of(server, s)
        if not server.access.permit_method(s, s.permits, &v):
            on_refused(s, &v)
            refuse(s, &v)
            return
        if server.listener.wire.keep_metadata and s.caller.name_size:
            if keep_first(&s.metadata, b"modelward-identity-kind", 23, <const uint8_t *>s.caller.kind,
                          strlen(s.caller.kind)) < 0 or (
                    keep_first(&s.metadata, b"modelward-identity", 18, <const uint8_t *>s.caller.name, s.caller.name_size) < 0):
                refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")
                return
    if s.method == METHOD_COLD:
        (<Server>server).begin_cold(s)


cdef bint on_check(Stream *s, int64_t now) noexcept:
    """Twice a second for each stream: one that stays open outlives neither what proved its caller nor the rules that let it in.

    A unary inference ends as it began once its message is whole.
    """
    cdef State server = <State>s.conn.wire.server
    cdef Verdict v
    cdef Entry *entry
    cdef Model *m = NULL
    if s.caller == NULL or s.finished or s.method == METHOD_REFUSED or s.attempt != NULL:
        return True
    if s.method == METHOD_INFER and s.remote_ended:
        return True
    if server.access.stands(s, now, &v):
        if s.relay != NULL:
            m = s.relay.model
        entry = NULL if m == NULL else server.directory.find(m.name)
        # the model of a relay whose name is served no more ends as it began
        if entry == NULL or server.access.permit(s, entry, s.permits, &v):
            return True
    on_refused(s, &v)
    refuse(s, &v)
    return False


cdef uint8_t kind_of(State server, const Stream *s) noexcept:
    if s.method == METHOD_INFER:
        return PERMIT_INFER
    if s.method == METHOD_STREAM_INFER:
        return PERMIT_STREAM
    return (<Server>server).methods.get(
        (<list><object>s.call)[0][1], 0 if (<Server>server).passthrough is None else PERMIT_PASSTHROUGH)


cdef bint room_access(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    """Which model the message is for, and whether its sender may. A message without end has no model yet: `decode` refuses it."""
    cdef mw_span message, name
    cdef Entry *entry
    cdef const Packed *packed = x.stream.packed
    if packed != NULL:
        message.data = packed.work.out.data
        message.size = packed.work.out.size
        if not mw_oip_first_model_name(message, &name):
            v.reason = REASON_MALFORMED_MESSAGE
            v.retry_ns = 0
            snprintf(v.text, VERDICT_TEXT, "%s", NAME_FIRST)
            return False
    else:
        message.data = x.body.data
        message.size = x.body.size
        if not mw_oip_model_name(message, &name):
            return True
    entry = server.directory.find(name)
    if entry != NULL:
        ask(x, server.directory.choose(entry, sticky_of(x.stream)))
    if x.stream.mirrored and entry != NULL and x.stream.caller != NULL:
        x.mirrored = x.mirrored or may(x.stream.caller, entry.number, PERMIT_SHADOW)
    if server.access is not None and not server.access.permit(x.stream, entry, infer_permit(x), v):
        return False
    if entry == NULL and packed != NULL:
        unknown_model(server, x.stream, name, now, v)   # not worth inflating
        return False
    return True


cdef void unknown_model(State server, const Stream *s, mw_span name, int64_t now, Verdict *v) noexcept:
    server.unlisted = True
    if server.learner is not None and name.size <= LONGEST_NAME and learns(server, s, name):
        v.reason = REASON_NO_UPSTREAM
        v.retry_ns = LEARN_RETRY
        snprintf(v.text, VERDICT_TEXT, "the upstream servers are asked for this model; retry in 0.5 s")
    else:
        server.directory.unknown_model(name, now, v)


cdef bint learns(State server, const Stream *s, mw_span name) noexcept:
    try:
        return server.learner(name.data[:name.size], s.peer)
    except MemoryError:
        return False


cdef inline uint8_t infer_permit(const Exchange *x) noexcept:
    return PERMIT_STREAM if x.streaming else PERMIT_INFER


cdef inline void pays(Payers *payers, const Stream *s, mw_meter *model) noexcept:
    payers.peer = s.peer
    payers.peer_limit = s.peer_limit
    payers.identity = s.budget
    payers.fleet = s.fleet
    payers.identity_limit = 0 if s.caller == NULL else s.caller.limit
    payers.model = model


cdef void limit_verdict(State server, Verdict *v, int level, const Stream *s, const Model *m, int64_t retry) noexcept:
    """m: the model asked for, where it may be its limit."""
    cdef Limiter limiter = server.listener.limiter
    server.callers.note_refusal(s, <mw_level>level, s.conn.wire.now)
    if level == MW_LEVEL_PEER:
        over_limit(v, REASON_PEER_LIMIT, limiter.limit_of(MW_LEVEL_PEER, s.peer_limit).text, retry)
    elif level == MW_LEVEL_IDENTITY:
        over_limit(v, REASON_IDENTITY_LIMIT,
                   limiter.limit_of(MW_LEVEL_IDENTITY, 0 if s.caller == NULL else s.caller.limit).text, retry)
    elif level == MW_LEVEL_MODEL:
        over_limit(v, REASON_MODEL_LIMIT, m.limit_text, retry)
    else:
        over_limit(v, REASON_TOTAL_LIMIT, limiter.total.text, retry)


cdef bint pay(State server, Stream *s) noexcept:
    """For a call or a message of which no model runs here. False: refused."""
    cdef Payers payers
    cdef int64_t retry = 0
    cdef int level
    pays(&payers, s, NULL)
    level = server.listener.limiter.admit(&payers, 1, UNREAD_NS, s.conn.wire.now, &retry)
    if level != MW_ADMITTED:
        refuse_limit(server, s, level, retry)
    return level == MW_ADMITTED


cdef void refuse_limit(State server, Stream *s, int level, int64_t retry) noexcept:
    cdef Verdict v
    limit_verdict(server, &v, level, s, NULL, retry)
    on_refused(s, &v)
    refuse(s, &v)


cdef void on_refused(Stream *s, Verdict *verdict) noexcept:
    """The wire or the peer's room has refused: no model is known."""
    cdef State server = <State>s.conn.wire.server
    server.other.refusals[verdict.reason] += 1
    if s.relay != NULL:
        relay_cancel(s, code_of(verdict.reason))
    else:
        server.other.codes[code_of(verdict.reason)] += 1


# ---- limit ---------------------------------------------------------------------------------------------------

cdef bint room_limit(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    """All levels are checked before any is charged."""
    cdef Limiter limiter = server.listener.limiter
    cdef Model *m = x.asked
    cdef int64_t retry = 0
    cdef int level
    x.predicted = MW_COST_LEAST_NS if m == NULL else mw_cost_predict(m.costs, size_of(x))
    x.share = x.predicted / (1.0 if x.stream.caller == NULL else <double>x.stream.caller.weight)
    # one cell for all versions: the limit is the model's
    pays(&x.payers, x.stream, &m.limit if m != NULL and m.limit.rate.interval_ns else NULL)
    if x.payers.model == NULL and not server.limited:
        return True
    level = limiter.admit(&x.payers, 1, x.predicted, now, &retry)
    if level == MW_ADMITTED:
        x.unsettled = limiter.timed or (x.payers.model != NULL and x.payers.model.rate.timed)
        return True
    limit_verdict(server, v, level, x.stream, m, retry)
    return False


# ---- compressed messages -------------------------------------------------------------------------------------

cdef const char *RELAYED_TEXT = "your streams have their share of the upstream's already; end one or retry shortly"
cdef const char *NAME_FIRST = "a compressed message must hold model_name once, as its first field"


cdef inline size_t size_of(const Exchange *x) noexcept:
    """Of the message, as far as it is known: a compressed one's before it is inflated."""
    cdef const Packed *packed = x.stream.packed
    if packed == NULL:
        return x.body.size
    return packed.work.allowed if packed.work.exact else packed.body.size


cdef bint open_packed(State server, Stream *s, Exchange *x, Buffer *message, Verdict *v, int64_t now) noexcept:
    """Its first piece, by which its model is known; and not even that where the budgets refuse whatever it asks for.

    x: NULL for a call that is passed through, which has paid already.
    """
    cdef Payers payers
    cdef Packed *packed
    cdef int64_t retry = 0
    cdef int level, state = INFLATED_WHOLE
    if server.limited and x != NULL:
        pays(&payers, s, NULL)
        level = server.listener.limiter.would_admit(&payers, 1, MW_COST_LEAST_NS, now, &retry)
        if level != MW_ADMITTED:
            limit_verdict(server, v, level, s, NULL, retry)
            return False
    packed = server.inflater.open(s, x, message, &state)
    if packed == NULL:
        inflation_verdict(v, state, s.conn.wire.message_size)
        return False
    if x != NULL and packed.state == INFLATED_WHOLE:
        take_unpacked(packed, &x.body)
        packed_free(packed)
    return True


cdef bint room_unpack(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef Packed *packed = x.stream.packed
    cdef bint good
    if packed == NULL:
        return True
    if server.inflater.unpack(packed) != INFLATED_PART:
        good = unpacked(x, packed, v)
        packed_free(packed)
        return good
    x.phase = PHASE_PACKED
    if not server.inflater.queue(packed):
        x.phase = PHASE_NEW
        packed_free(packed)
        return busy_inflating(v)
    v.reason = REASON_NONE
    return False


cdef bint busy_inflating(Verdict *v) noexcept:
    v.reason = REASON_QUEUE_FULL
    v.retry_ns = ROOM_RETRY
    snprintf(v.text, VERDICT_TEXT, "too many compressed messages wait to be inflated; retry shortly, or send them uncompressed")
    return False


cdef bint unpacked(Exchange *x, Packed *packed, Verdict *v) noexcept:
    """The exchange's message, in place of the compressed one; or what is wrong with it."""
    cdef mw_span message, first, last
    x.inflating = packed.took
    if packed.state != INFLATED_WHOLE:
        inflation_verdict(v, packed.state, x.wire.message_size)
        return False
    take_unpacked(packed, &x.body)
    message.data = x.body.data
    message.size = x.body.size
    # what was admitted is what the first name says: the last one is the one that counts
    if not mw_oip_first_model_name(message, &first) or not mw_oip_model_name(message, &last) or first.data != last.data:
        v.reason = REASON_MALFORMED_MESSAGE
        v.retry_ns = 0
        snprintf(v.text, VERDICT_TEXT, "%s", NAME_FIRST)
        return False
    return True


cdef void on_unpacked(PyObject *context, Packed *packed, int64_t now) noexcept:
    """A message that was queued is inflated, or not worth it. Its stream refers to it no more, and frees it no more."""
    cdef State server = <State>context
    cdef Stream *s = packed.stream
    cdef Exchange *x = packed.exchange
    cdef Verdict v
    cdef bint good
    if s.finished:
        return                    # its exchange ends with the stream, which is about to close
    if packed.refused:
        # the stream ends: to read on here would let it in again, before those in whose favour it was refused
        busy_inflating(&v)
        if x == NULL:
            on_refused(s, &v)
        refuse(s, &v)
        if x != NULL:
            refuse_exchange(server, x, &v, now)
        return
    if x == NULL:
        send_unpacked(s, packed)
    else:
        x.phase = PHASE_NEW
        good = unpacked(x, packed, &v)
        if s.timeout and now >= s.entered + s.timeout:
            v.reason = REASON_DEADLINE
            v.retry_ns = 0
            snprintf(v.text, VERDICT_TEXT, "deadline exceeded after %.1f ms", (now - x.entered) / 1e6)
            good = False
        if good:
            go_through(server, x, ROOM_UNPACK + 1, False, now)
        else:
            refuse_exchange(server, x, &v, now)
    proceed(s)


# ---- decode --------------------------------------------------------------------------------------------------

cdef bint room_decode(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef mw_scan *found = server.scanned
    cdef mw_span message, name, version
    cdef Entry *entry
    cdef Model *m
    message.data = x.body.data
    message.size = x.body.size
    if x.asked != NULL and x.asked.undecoded:
        return pass_undecoded(server, x, message, v)
    if not scan(message, found, v):
        if v.reason != REASON_MALFORMED_MESSAGE:
            x.id = found.id
        return False
    x.id = found.id
    x.sequence = found.sequence
    name = found.model_name
    version = found.model_version
    entry = server.directory.find(name)
    # the two readings of the name agree; were they ever not to, the one that is served is the one that must be allowed
    if server.access is not None and not server.access.permit(x.stream, entry, infer_permit(x), v):
        return False
    if entry == NULL:
        unknown_model(server, x.stream, name, now, v)
        return False
    if version.size:
        m = server.directory.version(entry, version)
        if m == NULL:
            entry.versions[0].doubted = True
            server.directory.unknown_version(entry, version, v)
            return False
        ask(x, m)
        x.named = True
    elif x.asked == NULL or not is_named(x.asked, name):
        ask(x, server.directory.choose(entry, sticky_of(x.stream)))
    m = x.asked
    if x.payers.model != NULL:
        x.payers.model = &m.limit  # the same cell, and one that stays as long as the exchange
    if not validate(found, x, m, v):
        m.doubted = True
        return False
    if x.opaque & OPAQUE_SHARED:
        if not may_share(<Server>server, x, v):
            return False
        x.sequence = True         # asked once: two answers would be written into the same memory
    take_deadline(x, found.timeout_us)
    if m.evidence != NULL:
        x.assigned = assigned_by(entry, x)
        x.hurried = is_hurried(entry, x)
    rank(server, x, found.priority)
    return True


cdef inline void rank(State server, Exchange *x, uint64_t asked) noexcept:
    """A request chooses within what its identity is granted, and so its order among that identity's own. A grant of one number
    is the operator's choice: that orders identities."""
    cdef const Identity *caller = x.stream.caller
    cdef bint own = caller != NULL and caller.highest
    cdef uint8_t highest = caller.highest if own else server.highest
    cdef uint8_t lowest = caller.lowest if own else server.lowest
    x.priority = <uint8_t>min(max(asked if asked else <uint64_t>ORDINARY, <uint64_t>highest), <uint64_t>lowest)
    x.band = highest if highest == lowest else <uint8_t>ORDINARY


cdef bint may_share(Server server, const Exchange *x, Verdict *v) noexcept:
    """Regions are named by clients, and whoever names one reads and writes it: only those who may register one use it."""
    if server.passthrough is None:
        v.reason = REASON_UNSUPPORTED_FEATURE
        v.retry_ns = 0
        snprintf(v.text, VERDICT_TEXT, "shared memory is not offered here; send the data in the request")
        return False
    return x.stream.caller == NULL or server.access.permit_method(x.stream, PERMIT_PASSTHROUGH, v)


cdef inline bint is_named(const Model *m, mw_span name) noexcept:
    return m.name.size == name.size and memcmp(m.name.data, name.data, name.size) == 0


cdef bint pass_undecoded(State server, Exchange *x, mw_span message, Verdict *v) noexcept:
    """Nobody has told this model's signature: its upstream judges the tensors, and whether it has the version asked for."""
    cdef mw_scan *found = server.scanned
    if not scan_envelope(message, found, v):
        return False
    x.id = found.id
    x.sequence = found.sequence
    x.rows = 1                    # one request: how many rows it has is not known
    if found.shares:
        x.opaque |= OPAQUE_SHARED
        if not may_share(<Server>server, x, v):
            return False
        x.sequence = True         # asked once, as above
    take_deadline(x, found.timeout_us)
    rank(server, x, found.priority)
    return True


# ---- score ---------------------------------------------------------------------------------------------------

cdef bint room_score(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    """The request's score is that of its most unusual row."""
    cdef Model *m = x.asked
    cdef mw_view views[<int>MW_MAX_TENSORS]
    cdef mw_gather gather
    cdef mw_score worst, score
    cdef int64_t row = 0, worst_row = -1, step = 1, next_row = 0
    cdef int i
    if m.profile == NULL:
        return True
    if x.view == NULL:
        return pass_unscored(m, v, "its inputs are in shared memory")
    for i in range(m.profile.inputs):
        views[i] = x.view[m.profile_input[i]]
    if mw_gather_begin(&gather, m.profile, views, x.rows) < 0:
        return pass_unscored(m, v, "its inputs have not the shapes that the profile was fitted on")
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
    x.score = worst.score
    mw_histogram_record_score(&m.counters.score, worst.score)
    if worst.p_value > m.false_positive_rate:
        return True
    x.flagged = True
    m.counters.anomalies += 1
    server.events.note(m, x, &worst, worst_row, now)
    if m.mode == MODE_REJECT or m.mode == MODE_FALLBACK:
        v.reason = REASON_ANOMALY
        v.retry_ns = 0
        snprintf(v.text, VERDICT_TEXT, "the input is unlike the model's training data (anomaly score %.4g, p-value %.3g)",
                 worst.score, worst.p_value)
        return False
    return True


cdef bint pass_unscored(Model *m, Verdict *v, const char *why) noexcept:
    """Nothing is known of it. Where anomalous requests are kept from the model, leaving out what is scored is no way past."""
    m.counters.unscored += 1
    if m.pass_unscored or (m.mode != MODE_REJECT and m.mode != MODE_FALLBACK):
        return True
    v.reason = REASON_ANOMALY
    v.retry_ns = 0
    snprintf(v.text, VERDICT_TEXT, "the request cannot be compared with the model's training data: %s", why)
    return False


# ---- from a message to an exchange -----------------------------------------------------------------------------

cdef void on_message(Stream *s, Buffer *message, int64_t now) noexcept:
    cdef State server = <State>s.conn.wire.server
    cdef Exchange *x
    cdef Verdict v
    if s.method == METHOD_COLD:
        # the first message is paid for with the headers, every other one by itself
        if s.messages <= 1 or not server.limited or pay(server, s):
            (<Server>server).take_cold(s, message)
        return
    if s.method == METHOD_RELAY:
        pass_through(server, s, message, now)
        return
    x = exchange_new(s.conn.wire)
    if x == NULL:
        refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")
        return
    x.stream = s
    x.streaming = s.method == METHOD_STREAM_INFER
    x.mirrored = s.mirrored and s.conn.trusted
    x.priority = x.band = <uint8_t>ORDINARY
    x.entered = now if x.streaming else s.entered
    if s.last != NULL:
        s.last.next_in_stream = x
    else:
        s.first = x
    s.last = x
    s.inflight += 1
    server.gauges.inflight += 1
    watch_deadline(x)
    server.sample += 1
    if not s.compressed:
        x.body = message[0]
        memset(message, 0, sizeof(Buffer))
    elif not open_packed(server, s, x, message, &v, now):
        release(s.conn.wire, message)
        refuse_exchange(server, x, &v, now)
        return
    go_through(server, x, 0, server.sample % SAMPLE == 0, now)


cdef void go_through(State server, Exchange *x, int first, bint timed, int64_t now) noexcept:
    """The rooms from that number on, then what lies behind them."""
    cdef Verdict v
    cdef int i
    cdef int64_t before = 0, after
    if timed:
        before = mw_now_ns()
    for i in range(first, <int>ROOM_COUNT):
        if not ROOMS[i](server, x, &v, now):
            if v.reason == REASON_NONE:
                return
            if v.reason == REASON_ANOMALY and x.asked.mode == MODE_FALLBACK and fall(server, x, REASON_ANOMALY, now):
                return
            refuse_exchange(server, x, &v, now)
            return
        if timed:
            after = mw_now_ns()
            if x.asked != NULL and ROOM_STAGE[i] >= 0:
                mw_histogram_record_ns(&x.asked.counters.stage[ROOM_STAGE[i]], after - before)
            before = after
    if timed:
        server.callers.note_spent(x.stream, SAMPLE, SAMPLE * x.predicted)
    route(server, x, now)


cdef int64_t client_margin(int64_t timeout) noexcept:
    """How long before the client's own deadline an answer must leave: it has to travel, and the wheel ticks in ms."""
    return min(max(timeout // 10, 2 * MILLISECOND), min(20 * MILLISECOND, timeout // 2))


cdef void take_deadline(Exchange *x, int64_t timeout_us) noexcept:
    """The earliest of grpc-timeout, the parameter "timeout" (0: none) and the model's own; absolute, from entry."""
    cdef Model *m = x.asked
    cdef int64_t due = INT64_MAX, timeout
    if x.stream.timeout:
        due = x.stream.entered + x.stream.timeout - client_margin(x.stream.timeout)
    if timeout_us > 0:
        timeout = min(timeout_us, INT64_MAX // 4000) * 1000
        due = min(due, x.entered + timeout - client_margin(timeout))
    if m.deadline:
        due = min(due, x.entered + m.deadline)
    x.client_due = 0 if due == INT64_MAX else due
    x.due = x.client_due
    # a model further down the ladder needs time of its own: the model asked for gets three quarters
    if x.due and m.rung_count and m.rungs[0].model != NULL:
        x.due = x.entered + (x.due - x.entered) // 4 * 3


cdef void route(State server, Exchange *x, int64_t now) noexcept:
    """Into the queue of the version asked for, under its deadline."""
    if x.due and x.due <= now:
        fail(server, x, REASON_DEADLINE, now)
        return
    if x.streaming and x.asked.pool != NULL:
        relay(server, x, now)
        return
    if x.due:
        set_deadline(server, x)
    cdef int reason = start(server, x, x.asked, now)
    if reason != REASON_NONE:
        fail(server, x, reason, now)


# ---- streams of upstreams -------------------------------------------------------------------------------------------

cdef int64_t due_of(const Stream *s) noexcept:
    return s.entered + s.timeout - client_margin(s.timeout) if s.timeout else 0


cdef void relay(State server, Exchange *x, int64_t now) noexcept:
    """Up the upstream's stream that this one is bound to. The first message binds it, and with it the choice of upstreams."""
    cdef Stream *s = x.stream
    cdef Model *m = x.asked
    cdef Verdict v
    cdef int reason = REASON_NONE
    if s.relay == NULL:
        reason = relay_begin(
            server, s, <Pool>m.pool, "/inference.GRPCInferenceService/ModelStreamInfer", 48, m, due_of(s))
    if reason == REASON_RELAYED_STREAMS:
        v.reason = reason
        v.retry_ns = ROOM_RETRY
        snprintf(v.text, VERDICT_TEXT, "%s", RELAYED_TEXT)
        refuse_exchange(server, x, &v, now)
        return
    if reason != REASON_NONE:
        fail(server, x, reason, now)
        return
    if not relays_to(s, m.pool):
        v.reason = REASON_UNSUPPORTED_FEATURE
        v.retry_ns = 0
        snprintf(v.text, VERDICT_TEXT, "this stream is bound to the upstreams of another model; open one for this model")
        refuse_exchange(server, x, &v, now)
        return
    x.model = m
    if x.due:
        set_deadline(server, x)   # until it goes up
    reason = admit(server, x, m, now)
    if reason != REASON_NONE:
        fail(server, x, reason, now)


cdef void pass_through(State server, Stream *s, Buffer *message, int64_t now) noexcept:
    """A message of a method that is not known here. The first is paid for with the headers, every other one by itself."""
    cdef Verdict v
    cdef Packed *packed
    cdef bint paid = s.messages <= 1 or not server.limited or pay(server, s)
    if not paid:
        pass
    elif s.caller != NULL and not server.access.permit_method(s, PERMIT_PASSTHROUGH, &v):
        on_refused(s, &v)
        refuse(s, &v)
    elif not s.compressed:
        send_on(s, message)
    elif not open_packed(server, s, NULL, message, &v, now):
        on_refused(s, &v)
        refuse(s, &v)
    else:
        packed = s.packed
        if server.inflater.unpack(packed) != INFLATED_PART:
            s.packed = NULL
            packed.stream = NULL
            send_unpacked(s, packed)
            packed_free(packed)
        elif not server.inflater.queue(packed):
            packed_free(packed)
            busy_inflating(&v)
            on_refused(s, &v)
            refuse(s, &v)
    release(s.conn.wire, message)


cdef void send_on(Stream *s, const Buffer *message) noexcept:
    if not relay_send(s, message):
        refuse_for(s, REASON_INFLIGHT_BYTES, "no room for the message: upstreams have not taken those before it; retry shortly")


cdef void send_unpacked(Stream *s, Packed *packed) noexcept:
    cdef Verdict v
    if packed.state == INFLATED_WHOLE:
        send_on(s, &packed.work.out)
        return
    inflation_verdict(&v, packed.state, s.conn.wire.message_size)
    on_refused(s, &v)
    refuse(s, &v)


# ---- the other ways in which a stream moves ------------------------------------------------------------------------

cdef void on_ended(Stream *s, int64_t now) noexcept:
    if s.method == METHOD_COLD:
        (<Server>(<State>s.conn.wire.server)).end_messages(s)
    elif s.method == METHOD_STREAM_INFER:
        end_stream(s)
    elif s.method == METHOD_RELAY:
        relay_half_close(s)


cdef bint on_working(Stream *s) noexcept:
    """Of a call whose message is not here yet, is answered, or may be followed by another, it is the client's turn."""
    cdef Call call = call_of(s)
    if s.finished or s.method == METHOD_REFUSED:
        return False
    if call is not None:
        return not call.listens()
    return s.inflight > 0 or s.packed != NULL or s.attempt != NULL or (s.relay != NULL and s.messages > 0)


cdef void on_drained(Stream *s) noexcept:
    cdef Call call = call_of(s)
    open_window(s)
    relay_drained(s)
    if call is not None:
        call.drained()


cdef void on_gone(Stream *s) noexcept:
    """The client let go: its exchanges are cancelled, and their results, should they still come, are late."""
    cdef State server = <State>s.conn.wire.server
    cdef Exchange *x
    cdef Call call = call_of(s)
    while s.first != NULL:
        x = s.first
        s.first = x.next_in_stream
        if x.phase != PHASE_DONE:
            abandon(server, x, -1, s.conn.wire.now)
            record(server, x, CODE_CANCELLED, s.conn.wire.now)
            x.phase = PHASE_DONE
            clear_deadline(server, x)
        promise(x, 0)
        x.stream = NULL
        exchange_unref(x)
    s.last = NULL
    s.inflight = 0
    leave(s)
    (<State>s.conn.wire.server).inflater.drop(s)
    if s.relay != NULL:
        relay_cancel(s, CODE_CANCELLED)
    if call is not None:
        call.gone()


cdef int answer_framed(Stream *s, bytes answer) except -1:
    """A whole answer to a cold call, and its end."""
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


# ---- the server ----------------------------------------------------------------------------------------------

cdef class Server(State):
    """The data plane of one process: a listener, its models, their limits.

    directory: the first that `serve` is
    given. region: what it has in common with other processes; absent: nothing.
    """

    def __cinit__(self, Wheel wheel, Limiter limiter, Directory directory, region=None):
        self.scheduler.wire = &self.listener.wire
        self.scheduler.server = <PyObject *>self
        self.inflater.server = <PyObject *>self
        self.listener.wire.server = <PyObject *>self
        wheel.after = after_timers
        wheel.after_context = <void *>self
        self.highest, self.lowest = ORDINARY, LOWEST
        self.serve(directory, None)
        self.tasks = {}
        self.streams = {}
        self.cold_of = {}
        self.streaming = self.client_streaming = frozenset()
        self.probes = {}
        self.probe_rate = Limiter(PROBING_PEERS, region=self.listener.region, name="probes")
        self.probe_rate.set_peer(PROBES_PER_SECOND, PROBES_AT_ONCE)
        self.methods = {}

    def guard(self, Access access not None):
        """From now on every call but those for health must be of an identity that may make it."""
        access.identities.know(self.directory)
        self.access = access
        self.listener.wire.access = <PyObject *>access
        self.listener.wire.keep_credentials = access.forwards

    def serve(self, Directory directory not None, Pool passthrough):
        """What the next message meets, at the rates that the limiter has now; whatever is under way ends as it began.

        passthrough: answers the methods that are not known here; None: they are refused.
        """
        cdef Limiter limiter = self.listener.limiter
        for served in directory.served:
            (<Served>served).attach(self.region, limiter.shared != NULL)
        if self.access is not None:
            self.access.identities.know(directory)
            self.listener.wire.keep_credentials = self.access.forwards
        judge_versions(directory)
        directory.suggested = self.directory.suggested
        self.listener.wire.sticky_header = mw_span(
            <const uint8_t *><const char *>directory.sticky_header, len(directory.sticky_header))
        self.directory = directory
        self.passthrough = passthrough
        self.limited = limiter.limiting
        self.listener.wire.keep_metadata = any((<Served>s).model.pool != NULL for s in directory.served)

    def learn(self, learner):
        """learner: callable(name as bytes, key of a peer) that says whether upstreams are asked for a model that is not served;
        called for each request for one, raises nothing. None: nobody is asked."""
        self.learner = learner

    def take_unlisted(self) -> bool:
        """Whether a model was asked for that is not served, since the last call."""
        cdef bint unlisted = self.unlisted
        self.unlisted = False
        return unlisted

    def set_priorities(self, uint8_t highest, uint8_t lowest):
        """What requests of identities without a grant of their own may ask for; 1 is the highest."""
        self.highest, self.lowest = highest, lowest

    def start(self, loop, dispatch, methods, streaming=(), client_streaming=()):
        """Joins the running loop. dispatch: coroutine function that answers a modelward_native.wire.call.Call.

        methods: path -> kind of method, as a bit of access.identity.Permit; 0 for those that are open to everybody.
        streaming: paths of those that are answered with a stream; client_streaming: of those whose requests are one.
        """
        self.loop = loop
        self.streaming = frozenset(streaming)
        self.client_streaming = frozenset(client_streaming)
        self.dispatch = dispatch
        self.methods = dict(methods)
        self.scheduler.start(loop)
        self.inflater.start(loop)

    def stop(self):
        """Cancels cold calls, aborts connections, leaves the loop."""
        for task in [*self.tasks, *self.streams]:
            task.cancel()
        for connection in list(self.listener.connections):
            connection.abort()
            connection.connection_lost(None)    # the loop may tell it when this server is no more
        end_mirrors(self)
        self.inflater.stop()
        self.scheduler.stop()
        self.listener.wheel.after = NULL

    def warn(self):
        """Clients are told to go elsewhere; what they have sent before they know is still taken."""
        self.listener.wire.draining = True
        for connection in list(self.listener.connections):
            connection.warn()
        flush_all(&self.listener.wire)

    def drain(self):
        """No new streams; what is under way is finished. `busy` tells when that is done."""
        for connection in list(self.listener.connections):
            connection.drain()
        flush_all(&self.listener.wire)

    @property
    def busy(self) -> bool:
        """A request is under way."""
        return self.gauges.inflight > 0 or (self.access is not None and self.access.busy)

    cdef void begin_cold(self, Stream *s) noexcept:
        """A call whose request is one message begins when that is complete: until then it takes no place."""
        try:
            path = (<list><object>s.call)[0][1]
            kind = self.methods.get(path)
            if not self.pays_for_call(s, kind == 0):
                return
            if kind is None:
                if self.passthrough is not None:
                    self.begin_relay(s, path)
                    return
                refuse_for(s, REASON_UNKNOWN_METHOD, "unknown method")
            elif path in self.client_streaming:
                self.open_call(s)
            else:
                s.unary = True
        except MemoryError:
            refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")

    cdef bint pays_for_call(self, Stream *s, bint probe) noexcept:
        """Probes have a rate of their own, so that no traffic of an orchestrator's address takes it from its health checks.
        What goes beyond that is paid for like every other call."""
        cdef int64_t retry = 0
        if not self.limited or probe and self.probe_rate.admit_peer(s.peer, 1, s.conn.wire.now, &retry) == MW_ADMITTED:
            return True
        return pay(self, s)

    cdef Call open_call(self, Stream *s):
        """The coroutine that answers; None where the stream is refused."""
        cdef Call call
        cdef Verdict v
        path = (<list><object>s.call)[0][1]
        streaming = path in self.streaming
        taken = self.streams if streaming else self.tasks
        bound = COLD_CALLS if streaming or self.methods.get(path) == 0 else COLD_CALLS - PROBE_PLACES
        if streaming:             # each may keep a connection
            bound = min(bound, max(self.listener.max_here // 2, 1))
        holders = [s.peer] if s.caller == NULL or s.caller.budget == 0 else [s.peer, s.budget]
        for holder in holders:
            held = self.cold_of.get((streaming, holder), 0)
            # a share, and no more than what is free: several who take all that they can leave as much for another
            if held >= COLD_OF_PEER or held >= bound - len(taken):
                v.reason = REASON_QUEUE_FULL
                v.retry_ns = -1
                snprintf(v.text, VERDICT_TEXT, "too many calls of this kind are open; do not retry at once")
                on_refused(s, &v)
                refuse(s, &v)
                return None
        call = call_begin(s, (<Connection>s.conn.owner).peer_name)
        call.access = self.access
        call.task = self.loop.create_task(self.dispatch(call))
        taken[call.task] = [(streaming, holder) for holder in holders]
        for key in taken[call.task]:
            self.cold_of[key] = self.cold_of.get(key, 0) + 1
        call.task.add_done_callback(self.end_cold)
        return call

    cdef void take_cold(self, Stream *s, Buffer *message) noexcept:
        """A message of a cold call. Takes the buffer."""
        cdef Call call = call_of(s)
        try:
            if call is None:
                answers = self.probes.get((<list><object>s.call)[0][1])
                answer = None if answers is None else answers.get((<const char *>message.data)[:message.size])
                if answer is not None:
                    release(s.conn.wire, message)
                    answer_framed(s, answer)
                    return
                call = self.open_call(s)
            if call is None:
                release(s.conn.wire, message)
            else:
                call.take(message)
        except MemoryError:
            release(s.conn.wire, message)
            refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")

    cdef void end_messages(self, Stream *s) noexcept:
        """The client of a cold call sends no more."""
        cdef Call call = call_of(s)
        try:
            if call is None:
                call = self.open_call(s)      # which says what is missing
            if call is not None:
                call.end()
        except MemoryError:
            refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")

    def set_probes(self, answers not None):
        """Answers to unary calls that need no coroutine: path -> {message: framed answer}."""
        self.probes = answers

    cdef int begin_relay(self, Stream *s, bytes path) except -1:
        """The upstream answers, whatever is asked: the bytes are not looked at."""
        cdef list headers = <list><object>s.call
        cdef bytes name, value
        cdef int kept = 0, reason
        for name, value in headers[1:]:      # the first is the path
            if passed_on(name, len(name)):
                kept |= keep_header(&s.metadata, name, len(name), value, len(value))
        s.call = NULL
        Py_DECREF(headers)
        s.method = METHOD_RELAY
        if kept < 0:
            refuse_for(s, REASON_OUT_OF_MEMORY, "out of memory")
            return 0
        reason = relay_begin(self, s, self.passthrough, path, len(path), NULL, due_of(s))
        if reason == REASON_RELAYED_STREAMS:
            refuse_for(s, reason, RELAYED_TEXT)
        elif reason != REASON_NONE:
            refuse_for(s, reason, "no upstream server can be reached")
        return 0

    def end_cold(self, task):
        """The coroutine of a cold call has ended."""
        keys = self.tasks.pop(task, None) or self.streams.pop(task)
        for key in keys:
            self.cold_of[key] -= 1
            if self.cold_of[key] == 0:
                del self.cold_of[key]

    def pace(self, bint busy):
        """Told several times a second whether this process lacked time: then fewer requests are mirrored, or none."""
        pace(&self.mirrors, busy, mw_now_ns())

    @property
    def mirrored_share(self) -> float:
        """Of the requests that would be mirrored, those that there is time for: 0 to 1."""
        return self.mirrors.share

    @property
    def mirroring(self) -> int:
        """Requests that shadows have and have not answered."""
        cdef const Exchange *y = self.mirrors.first
        cdef int count = 0
        while y != NULL:
            count += 1
            y = y.next_in_stream
        return count

    def take_samples(self) -> list:
        """Pairs that disagreed since the last call, a few: (model, shadow, disagreement, ModelInferRequest, the version's
        ModelInferResponse, the shadow's)."""
        return samples_taken(&self.mirrors.samples)

    def totals(self) -> dict:
        """This process's gauges."""
        return {
            "inflight": self.gauges.inflight, "connections": self.listener.wire.connections,
            "inflight_bytes": self.gauges.bytes,
        }


cdef int judge_versions(Directory directory) except -1:
    """Of a model with several versions or with shadows, requests are evidence for or against each."""
    cdef Model *m
    cdef uint32_t i, k
    for i in range(directory.count):
        for k in range(directory.entries[i].count):
            m = directory.entries[i].versions[k]
            if directory.entries[i].count > 1 or m.shadow_link_count:
                m.evidence = (<Engine>m.engine).be_judged()
    return 0


cdef void after_timers(void *context, int64_t now) noexcept:
    """Fallbacks and refusals of this round leave in one write per connection."""
    cdef Server server = <Server>context
    server.listener.wire.now = now
    if not server.listener.wire.batch_pending:
        flush_all(&server.listener.wire)
