"""At completion: every exchange is counted here, also a shadow's copy and a message that went up a relayed stream.

What ends before it is an exchange is counted elsewhere: a call refused at its headers in request/streams, the answers of a
relayed stream in backend/relay.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t

from modelward_native.detect.suspicion cimport MW_STEP_BLOCK
from modelward_native.request.exchange cimport PHASE_DONE, Exchange
from modelward_native.request.model cimport OUTCOME_FAILED, OUTCOME_FALLBACK, OUTCOME_OK, OUTCOME_REFUSED, Counters, Model
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport (
    CODE_CANCELLED, CODE_DEADLINE_EXCEEDED, REASON_DEADLINE, REASON_NONE, is_denial)
from modelward_native.shadow.crosscheck cimport crosscheck, end_crosscheck, other_version
from modelward_native.shadow.evidence cimport ASSIGNED_NONE, testify
from modelward_native.shadow.pair cimport pair
from modelward_native.stages.mirror cimport send_copy
from modelward_native.stages.stage cimport Result
from modelward_native.telemetry.access_log cimport log_access
from modelward_native.telemetry.histogram cimport mw_histogram_record_ns
from modelward_native.wire.connection cimport settle


cdef bint record(State server, Exchange *x, Result *r, int64_t now) noexcept:
    cdef uint64_t *count = NULL
    if x.mirrors != NULL:
        record_copy(server, x, r, now)
        return True
    if r.gone:
        r.status = CODE_CANCELLED
    record_request(server, x, r, now)
    log_access(&server.access_log, x, r, now)
    server.gauges.inflight -= 1
    if x.assigned != ASSIGNED_NONE and not r.gone and not r.sent_up:
        count = testify(x, r.status, now)
    x.phase = PHASE_DONE
    if count != NULL:
        record_failure(server, x, count, now)
    return True


cdef void record_request(State server, Exchange *x, const Result *r, int64_t now) noexcept:
    cdef Counters *c = server.other if x.asked == NULL else x.asked.counters
    cdef int64_t took = now - x.entered
    cdef int outcome = OUTCOME_FAILED
    c.codes[r.status] += 1
    if x.step:
        c.restricted[min(x.step, <uint8_t>MW_STEP_BLOCK)] += 1
    if x.would:
        c.observed[min(x.would, <uint8_t>MW_STEP_BLOCK)] += 1
    if r.sent_up:
        # its answers come later, any number of them
        c.success += 1
        c.queued += 1
        return
    if r.answer != NULL:
        c.success += 1
        c.success_ns += took
        outcome = OUTCOME_OK
        x.wire.traffic.useful += x.body.size
        if x.stream != NULL:
            settle(x.stream.conn)
        if x.fallback_reason != REASON_NONE:
            c.fallbacks[x.fallback_reason] += 1
            outcome = OUTCOME_FALLBACK
    elif not r.gone:
        c.refusals[r.reason] += 1
        if is_denial(r.reason) and x.stream != NULL:
            server.callers.note_denied(x.stream)
        c.fail += 1
        c.fail_ns += took
    if r.answer == NULL and x.launched == 0 and r.status != CODE_DEADLINE_EXCEEDED and r.status != CODE_CANCELLED:
        outcome = OUTCOME_REFUSED
    mw_histogram_record_ns(&c.request[outcome], took)


cdef void record_copy(State server, Exchange *y, Result *r, int64_t now) noexcept:
    """A shadow's answer is one half of a pair. The answer of a cross-check is evidence against the version that failed."""
    if y.shadow_link == NULL:
        end_crosscheck(&server.checks, &server.mirrors, y, r.answer != NULL)
    else:
        pair(&server.mirrors, y, r.answer,
             r.reason == REASON_DEADLINE or (r.answer == NULL and r.status == CODE_DEADLINE_EXCEEDED), now)


cdef void record_failure(State server, Exchange *x, uint64_t *count, int64_t now) noexcept:
    """A failure counts against its version where another version answers the same request, or no other can be asked."""
    cdef Model *other = other_version(server.directory, x)
    cdef Exchange *y
    if other == NULL:
        count[0] += 1
        return
    y = crosscheck(&server.checks, &server.mirrors, x, other, count, now)
    if y != NULL:
        send_copy(server, y, now)
