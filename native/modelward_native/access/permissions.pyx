"""What a caller may: its identity's grant, one look-up per message."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from modelward_native.access.access cimport Access
from modelward_native.access.identity cimport NOT_SERVED, may
from modelward_native.wire.types cimport Conn, Stream
from modelward_native.request.verdict cimport REASON_PERMISSION_DENIED, REASON_UNAUTHENTICATED, Verdict, refusal

cdef const char *TEXT_CERTIFICATE = "the client certificate of this connection no longer counts; connect again"
cdef const char *TEXT_EXPIRED = "the credential expired while the call was open; open it again with a new one"
cdef const char *TEXT_REVOKED = "the credential was revoked while the call was open"
cdef const char *TEXT_WITHDRAWN = "keys that sign tokens were withdrawn while the call was open; open it again"


cdef bint denied(Verdict *v, int reason, const char *text) noexcept:
    refusal(v, reason, text)
    return False


cdef bint permit_model(const Stream *s, uint32_t model, uint8_t permits, Verdict *v) noexcept:
    if s.caller.stamp != s.caller_stamp:
        return denied(v, REASON_UNAUTHENTICATED, TEXT_REVOKED)
    if (may(s.caller, model, permits) if model != NOT_SERVED
            else (s.caller.grant.of_others & permits) == permits):
        return True
    return denied(v, REASON_PERMISSION_DENIED, "this identity may not call this method of this model")


cdef bint permit_method(const Stream *s, uint8_t permits, Verdict *v) noexcept:
    if s.caller.stamp != s.caller_stamp:
        return denied(v, REASON_UNAUTHENTICATED, TEXT_REVOKED)
    if (s.caller.grant.of_any & permits) == permits:
        return True
    return denied(v, REASON_PERMISSION_DENIED, "this identity may not call this method")


cdef bint permit_to_go_on(Access access, const Stream *s, int64_t now, Verdict *v) noexcept:
    cdef const Conn *c = s.conn
    if now >= (c.caller_until if s.by_certificate else s.caller_until):
        return denied(v, REASON_UNAUTHENTICATED, TEXT_CERTIFICATE if s.by_certificate else TEXT_EXPIRED)
    if s.caller_epoch and s.caller_epoch != access.epoch:
        return denied(v, REASON_UNAUTHENTICATED, TEXT_WITHDRAWN)
    return permit_method(s, s.permits, v)
