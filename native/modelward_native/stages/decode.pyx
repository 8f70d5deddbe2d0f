"""At the message: whether it is a request at all, and one that its model takes. It is scanned in place, without a copy."""
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp

from modelward_native.access.identity cimport PERMIT_PASSTHROUGH, Identity
from modelward_native.access.permissions cimport permit_method
from modelward_native.request.exchange cimport OPAQUE_SHARED, Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.oip cimport mw_scan
from modelward_native.request.scan cimport scan, scan_envelope
from modelward_native.request.state cimport State
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.validate cimport validate
from modelward_native.request.verdict cimport (
    REASON_MALFORMED_MESSAGE, REASON_NO_VERSION, REASON_UNSUPPORTED_FEATURE, Verdict, refusal)
from modelward_native.stages.deadline cimport margin
from modelward_native.stages.resolve cimport not_found

cdef double TIME_ENOUGH = 1e9             # ns, for a model that has not answered yet


cdef int decode(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef mw_scan *found = server.scanned
    cdef Model *m = x.asked
    cdef mw_span message
    cdef bint undecoded = m != NULL and m.undecoded
    message.data = x.body.data
    message.size = x.body.size
    if not (scan_envelope(message, found, v) if undecoded else scan(message, found, v)):
        if v.reason != REASON_MALFORMED_MESSAGE:
            x.id = found.id
        return REFUSE
    x.id = found.id
    x.sequence = found.sequence
    if m == NULL or x.unknown_version:
        not_found(server, x, found.model_name, found.model_version, v, now)
        return REFUSE
    if not is_named(m, found.model_name):
        # both readings of the name must agree: else a model could be asked that `permit` has not checked
        refusal(v, REASON_MALFORMED_MESSAGE, "model_name is not clear")
        return REFUSE
    if x.payers.model != NULL:
        x.payers.model = &m.limit  # the same cell, and one that stays as long as the exchange
    if undecoded:
        x.rows = 1                # one request: how many rows it has is not known
        if found.shares:
            x.opaque |= OPAQUE_SHARED
    elif not validate(found, x, m, v):
        if m.gate.shut == REASON_NO_VERSION:    # what it will take once a version answers is not known
            refusal(v, REASON_NO_VERSION, NULL)
        m.signature_stale = True
        return REFUSE
    if x.opaque & OPAQUE_SHARED:
        if not may_share(server, x, v):
            return REFUSE
        x.sequence = True         # never sent twice: both answers would be written into the same memory
    take_deadline(x, found.timeout_us)
    if m.evidence != NULL and not undecoded:
        x.hurried = is_hurried(x)
    rank(server, x, found.priority)
    x.decoded = True
    return GO_ON


cdef inline bint is_named(const Model *m, mw_span name) noexcept:
    return m.name.size == name.size and memcmp(m.name.data, name.data, name.size) == 0


cdef bint may_share(State server, const Exchange *x, Verdict *v) noexcept:
    """A client that names a shared memory region reads and writes it. So only callers that may register one may name one."""
    if server.passthrough is None:
        refusal(v, REASON_UNSUPPORTED_FEATURE, "shared memory is not offered here; send the data in the request")
        return False
    return x.stream.caller == NULL or permit_method(x.stream, PERMIT_PASSTHROUGH, v)


cdef inline void rank(State server, Exchange *x, uint64_t asked) noexcept:
    """Sets the request's priority within the range that its identity is granted. It orders the requests of one identity.
    Where the grant is a single number, the operator has chosen it: that orders identities (band)."""
    cdef const Identity *caller = x.stream.caller
    cdef bint own = caller != NULL and caller.highest
    cdef uint8_t highest = caller.highest if own else server.highest
    cdef uint8_t lowest = caller.lowest if own else server.lowest
    x.priority = <uint8_t>min(max(asked if asked else <uint64_t>server.ordinary, <uint64_t>highest), <uint64_t>lowest)
    x.band = highest if highest == lowest else server.ordinary


cdef void take_deadline(Exchange *x, int64_t timeout_us) noexcept:
    """Sets the deadline: the earliest by grpc-timeout, the parameter "timeout" (0: none) and the model's own setting."""
    cdef Model *m = x.asked
    cdef int64_t due = INT64_MAX, timeout
    if x.stream.timeout:
        due = x.stream.entered + x.stream.timeout - margin(x.stream.timeout)
    if timeout_us > 0:
        timeout = min(timeout_us, INT64_MAX // 4000) * 1000
        due = min(due, x.entered + timeout - margin(timeout))
    if m.deadline:
        due = min(due, x.entered + m.deadline)
    x.client_due = 0 if due == INT64_MAX else due
    x.due = x.client_due
    # a model of the fallback chain needs time too: the model asked for gets three quarters
    if x.due and m.fallback_count and m.fallbacks[0].model != NULL:
        x.due = x.entered + (x.due - x.entered) // 4 * 3


cdef bint is_hurried(const Exchange *x) noexcept:
    """Whether the client gives less than twice the time that the model usually takes for this caller. Then a missed deadline is
    no evidence against a version."""
    if x.due == 0 or (x.asked.deadline and x.client_due >= x.entered + x.asked.deadline):
        return False
    return x.due - x.entered < (2 * x.usual if x.usual else TIME_ENOUGH)
