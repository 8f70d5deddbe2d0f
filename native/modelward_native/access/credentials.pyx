"""Who calls: a credential looked up in a fixed table, and only where it is not there checked by Python."""
from libc.stdint cimport INT64_MAX, int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy

from modelward_native.access.access cimport Access, access_of
from modelward_native.access.attempts cimport attempt_of, check
from modelward_native.access.identity cimport Identity
from modelward_native.access.tokens cimport mw_token
from modelward_native.wire.connection cimport connection_of
from modelward_native.wire.types cimport Conn, Stream
from modelward_native.request.streams cimport on_refused
from modelward_native.request.verdict cimport (
    REASON_ACCESS_BUSY, REASON_CREDENTIALS_LIMIT, REASON_UNAUTHENTICATED, RETRY_NS, VERDICT_TEXT, Verdict, over_limit)
from modelward_native.wire.holding cimport grow, holder_of, pay_for, release
from modelward_native.wire.stream cimport refuse, refuse_for

cdef enum:
    KIND_TOKEN = 0
    KIND_KEY = 1
    CREDENTIAL_BYTES = 8192       # of one credential: tokens with many claims have 2 KiB


cdef void set_caller(Access access, Stream *s, Identity *caller, int64_t until) noexcept:
    caller.references += 1
    caller.used = True
    s.caller = caller
    s.caller_stamp = caller.stamp
    s.caller_until = until
    if s.credentials and not s.credential_is_key:
        s.caller_epoch = access.epoch


cdef void forget_caller(Stream *s) noexcept:
    if s.attempt != NULL:
        attempt_of(s).unlink(s)
    if s.caller != NULL:
        s.caller.references -= 1
        s.caller = NULL
    release(s.conn.wire, &s.credential)


# ---- the header ----------------------------------------------------------------------------------------------

cdef inline bint is_bearer(const uint8_t *value, size_t size) noexcept:
    """RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, section 11.1)."""
    return size >= 8 and (value[0] | 32) == 98 and (value[1] | 32) == 101 and (value[2] | 32) == 97 and (
        value[3] | 32) == 114 and (value[4] | 32) == 101 and (value[5] | 32) == 114 and value[6] == 32


cdef void on_credential(Stream *s, bint key, const uint8_t *value, size_t size) noexcept:
    cdef Access access = access_of(s.conn.wire)
    cdef int64_t now = s.conn.wire.now
    cdef mw_token *token
    s.credentials += 1
    if s.credentials > 1:
        return
    s.credential_state = CREDENTIAL_INVALID
    if not key:
        if not is_bearer(value, size):
            return
        value += 7
        size -= 7
        key = size > 3 and memcmp(value, b"mw_", 3) == 0
    if size == 0:
        return
    if size > CREDENTIAL_BYTES:
        s.credential_state = CREDENTIAL_TOO_LARGE
        return
    s.credential_is_key = key
    access.good.hash(KIND_KEY if key else KIND_TOKEN, value, size, s.credential_hash)
    token = access.good.find(s.credential_hash, now)
    if token != NULL and access.identities.slot[token.owner].stamp == token.stamp:
        access.hits += 1
        s.credential_state = CREDENTIAL_KNOWN
        set_caller(access, s, &access.identities.slot[token.owner], token.expires_ns)
        return
    token = access.bad.find(s.credential_hash, now)
    if token != NULL:
        access.known_bad += 1
        s.credential_state = token.owner
        return
    pay_for(&s.credential, holder_of(s))
    if grow(s.conn.wire, &s.credential, size) < 0:
        s.credential_state = CREDENTIAL_NO_MEMORY
        return
    memcpy(s.credential.data, value, size)
    s.credential.size = size
    s.credential_state = CREDENTIAL_NEW


# ---- the headers are complete --------------------------------------------------------------------------------

cdef Identification deny(Stream *s, const char *text) noexcept:
    refuse_for(s, REASON_UNAUTHENTICATED, text)
    return DENIED


cdef Identification deny_credential(Stream *s, uint8_t state) noexcept:
    if state == CREDENTIAL_EXPIRED:
        return deny(s, "the credential has expired; get a new one")
    if state == CREDENTIAL_TOO_LARGE:
        return deny(s, "the credential is larger than 8192 bytes")
    return deny(s, "the credential is not valid here")


cdef Identification deny_for_now(Stream *s, int reason, int64_t retry_ns) noexcept:
    cdef Verdict v
    if reason == REASON_CREDENTIALS_LIMIT:
        over_limit(&v, reason, "", retry_ns)
    else:
        v.reason = reason
        v.retry_ns = retry_ns
        snprintf(v.text, VERDICT_TEXT, "credentials cannot be checked at the moment; retry shortly")
    on_refused(s, &v)
    refuse(s, &v)
    return DENIED


cdef Identification find_caller(Access access, Stream *s, int64_t now) noexcept:
    """A token or key says more than the connection's certificate: a mesh's belongs to the hop, the token to the caller.

    A credential that does not hold ends the call: neither the certificate nor an anonymous rule stands in for it.
    """
    cdef Conn *c = s.conn
    if s.credentials > 1:
        return deny(s, "more than one credential came with the call; send one")
    if s.credentials:
        if s.credential_state == CREDENTIAL_KNOWN:
            return IDENTIFIED
        if s.credential_state == CREDENTIAL_NO_MEMORY:
            return deny_for_now(s, REASON_ACCESS_BUSY, RETRY_NS)
        if s.credential_state != CREDENTIAL_NEW:
            return deny_credential(s, s.credential_state)
        try:
            check(access, s, now)
        except MemoryError:
            deny_for_now(s, REASON_ACCESS_BUSY, RETRY_NS)
        return BEING_CHECKED if s.attempt != NULL else DENIED
    if c.caller != NULL:
        if now >= c.caller_until or c.caller_stamp != c.caller.stamp:
            connection_of(c).drain()
            return deny(s, "the client certificate of this connection no longer counts; connect again")
        set_caller(access, s, c.caller, INT64_MAX)
        s.by_certificate = True
    elif access.identities.anonymous_allowed:
        set_caller(access, s, &access.identities.anonymous, INT64_MAX)
    else:
        return deny(s, "this server wants to know who calls: send authorization: Bearer TOKEN, an x-api-key, or a client "
                    "certificate it trusts")
    return IDENTIFIED
