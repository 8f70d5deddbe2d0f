"""Who calls: a credential looked up in a fixed table, and only where it is not there checked by Python."""
from cpython.ref cimport PyObject
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy

import os

from modelward_native.request.exchange cimport METHOD_REFUSED, Conn, Stream
from modelward_native.wire.h2 cimport Connection, Listener, flush_all
from modelward_native.wire.holding cimport holder_of, pay_for
from modelward_native.access.identities cimport Identities
from modelward_native.request.streams cimport on_identified, on_refused
from modelward_native.access.identity cimport NOT_SERVED, Identity, may
from modelward_native.limits.limit cimport Limiter
from modelward_native.wire.stream cimport grow, proceed, refuse, refuse_for, release
from modelward_native.access.tokens cimport Tokens, mw_token
from modelward_native.request.verdict cimport (
    REASON_ACCESS_BUSY, REASON_ACCESS_UNAVAILABLE, REASON_CREDENTIALS_LIMIT, REASON_PERMISSION_DENIED,
    REASON_UNAUTHENTICATED, VERDICT_TEXT, Verdict, over_limit)

cdef extern from "clock.h" nogil:
    int64_t mw_now_ns()

cdef enum:
    KIND_TOKEN = 0
    KIND_KEY = 1
    CREDENTIAL_BYTES = 8192       # of one credential: tokens with many claims have 2 KiB
    BAD_TOKENS = 4096
    FAILING_PEERS = 65536
    ATTEMPTS = 512                # credentials being checked at a time: each costs about 0.2 ms
    ATTEMPTS_OF_PEER = 64         # below FAILURES_AT_ONCE
    WAITING_STREAMS = 2048        # each holds a window of its request at most

cdef enum Credential:             # what became of a stream's credential at the headers
    CREDENTIAL_NONE = 0
    CREDENTIAL_KNOWN              # s.caller is set
    CREDENTIAL_NEW                # s.credential holds it
    CREDENTIAL_INVALID
    CREDENTIAL_EXPIRED
    CREDENTIAL_TOO_LARGE
    CREDENTIAL_NO_ROOM

cdef int64_t SECOND = 1000000000
cdef int64_t BAD_SECONDS = 10 * SECOND
cdef double FAILURES_PER_SECOND = 20      # of one peer
cdef int FAILURES_AT_ONCE = 100
cdef int64_t BUSY_RETRY = SECOND // 10
cdef int64_t UNAVAILABLE_RETRY = SECOND

cdef const char *TEXT_NONE = (
    "this server wants to know who calls: send authorization: Bearer TOKEN, an x-api-key, or a client certificate it trusts")
cdef const char *TEXT_SEVERAL = "more than one credential came with the call; send one"
cdef const char *TEXT_INVALID = "the credential is not valid here"
cdef const char *TEXT_EXPIRED = "the credential has expired; get a new one"
cdef const char *TEXT_TOO_LARGE = "the credential is larger than 8192 bytes"
cdef const char *TEXT_REVOKED = "the credential was revoked while the call was open"
cdef const char *TEXT_EXPIRED_OPEN = "the credential expired while the call was open; open it again with a new one"
cdef const char *TEXT_WITHDRAWN = "keys that sign tokens were withdrawn while the call was open; open it again"
cdef const char *TEXT_CERTIFICATE = "the client certificate of this connection no longer counts; connect again"


# ---- at the headers ------------------------------------------------------------------------------------------

cdef inline void take(Stream *s, Identity *caller, int64_t until) noexcept:
    caller.references += 1
    caller.used = True
    s.caller = caller
    s.caller_stamp = caller.stamp
    s.caller_until = until
    if s.credentials and not s.credential_is_key:
        s.caller_epoch = (<Access>s.conn.wire.access).epoch


cdef void on_credential(Stream *s, bint key, const uint8_t *value, size_t size) noexcept:
    """A header that holds a credential. key: x-api-key, else authorization."""
    cdef Access access = <Access>s.conn.wire.access
    cdef int64_t now = s.conn.wire.now
    cdef mw_token *token
    s.credentials += 1
    if s.credentials > 1:
        return
    s.credential_state = CREDENTIAL_INVALID
    if not key:
        # RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, section 11.1)
        if size < 8 or (value[0] | 32) != 98 or (value[1] | 32) != 101 or (value[2] | 32) != 97 or (
                value[3] | 32) != 114 or (value[4] | 32) != 101 or (value[5] | 32) != 114 or value[6] != 32:
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
        take(s, &access.identities.slot[token.owner], token.expires_ns)
        return
    token = access.bad.find(s.credential_hash, now)
    if token != NULL:
        access.known_bad += 1
        s.credential_state = token.owner
    else:
        pay_for(&s.credential, holder_of(s))
        if grow(s.conn.wire, &s.credential, size) < 0:
            s.credential_state = CREDENTIAL_NO_ROOM
            return
        memcpy(s.credential.data, value, size)
        s.credential.size = size
        s.credential_state = CREDENTIAL_NEW


cdef void leave(Stream *s) noexcept:
    if s.attempt != NULL:
        (<Attempt>s.attempt).unlink(s)
    if s.caller != NULL:
        s.caller.references -= 1
        s.caller = NULL
    release(s.conn.wire, &s.credential)


cdef Outcome deny(Stream *s, const char *text) noexcept:
    refuse_for(s, REASON_UNAUTHENTICATED, text)
    return DENIED


cdef Outcome deny_for_now(Stream *s, int reason, int64_t retry_ns) noexcept:
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


cdef bint no(Verdict *v, int reason, const char *text) noexcept:
    v.reason = reason
    v.retry_ns = 0
    snprintf(v.text, VERDICT_TEXT, "%s", text)
    return False


# ---- checking a credential -----------------------------------------------------------------------------------

cdef class Attempt:
    """One credential that is not known. Whoever checks it calls exactly one of accept, reject and postpone."""

    @property
    def wanted(self) -> bool:
        """Somebody still waits for the outcome."""
        return self.first != NULL

    cdef int unlink(self, Stream *s) except -1:
        cdef Stream **link = &self.first
        while link[0] != NULL:
            if link[0] == s:
                link[0] = s.next_waiting
                s.next_waiting = NULL
                s.attempt = NULL
                self.access.waiting -= 1
                self.access.waiting_of[s.peer] -= 1
                if self.access.waiting_of[s.peer] == 0:
                    del self.access.waiting_of[s.peer]
                return 0
            link = &link[0].next_waiting
        return 0

    cdef int settle(self) except -1:
        cdef Access access = self.access
        access.listener.wire.now = mw_now_ns()
        key = self.hash[0], self.hash[1]
        if access.attempts.get(key) is self:
            del access.attempts[key]
            access.of_peer[self.peer] -= 1
            if access.of_peer[self.peer] == 0:
                del access.of_peer[self.peer]
        return 0

    def accept(self, str source not None, str name not None, expires_ns=None):
        """It belongs to `name`; expires_ns: of the monotonic clock, None for never. `source` is what proved it."""
        cdef Access access = self.access
        cdef Identity *identity
        cdef Stream *s
        cdef int64_t now, until = INT64_MAX if expires_ns is None else expires_ns
        self.settle()
        now = access.listener.wire.now
        identity = access.identities.of(source, name)
        if identity != NULL:
            access.good.put(self.hash, <uint32_t>(identity - access.identities.slot), identity.stamp, until, now)
        while self.first != NULL:
            s = self.first
            self.unlink(s)
            if s.method == METHOD_REFUSED:
                pass
            elif identity == NULL:
                deny_for_now(s, REASON_ACCESS_BUSY, BUSY_RETRY)
            else:
                take(s, identity, until)
                on_identified(s, now)
            proceed(s)
        self.flush()

    def reject(self, bint expired=False):
        """It is nobody's, or no longer. The peer pays for it, and the same bytes are refused unchecked for 10 s."""
        cdef Access access = self.access
        cdef int64_t now, retry = 0
        cdef uint8_t state = CREDENTIAL_EXPIRED if expired else CREDENTIAL_INVALID
        self.settle()
        now = access.listener.wire.now
        access.refused += 1
        access.failures.admit_peer(self.peer, 1, now, &retry)
        access.bad.put(self.hash, state, 0, now + BAD_SECONDS, now)
        while self.first != NULL:
            s = self.first
            self.unlink(s)
            if s.method != METHOD_REFUSED:
                deny(s, TEXT_EXPIRED if expired else TEXT_INVALID)
            proceed(s)
        self.flush()

    def postpone(self):
        """Nobody can tell at the moment."""
        self.settle()
        while self.first != NULL:
            s = self.first
            self.unlink(s)
            if s.method != METHOD_REFUSED:
                deny_for_now(s, REASON_ACCESS_UNAVAILABLE, UNAVAILABLE_RETRY)
            proceed(s)
        self.flush()

    def flush(self):
        """What was decided between two reads leaves at once, unless a batch is about to."""
        if not self.access.listener.wire.batch_pending:
            flush_all(&self.access.listener.wire)


cdef class Access:
    """Who calls one server, and may they. Hand it to modelward_native.request.pipeline.Server.guard.

    rules: as access.identity.Identities takes them. identities, tokens: capacities. key: 16 bytes for SipHash, random
    unless a test fixes them.
    """

    def __cinit__(self, Listener listener not None, rules, uint32_t identities=65536, uint32_t tokens=65536, bytes key=None):
        if key is None:
            key = os.urandom(16)
        self.listener = listener
        self.identities = Identities(listener.limiter, rules, identities)
        self.good = Tokens(tokens, key)
        self.bad = Tokens(BAD_TOKENS, key)
        self.failures = Limiter(FAILING_PEERS, region=listener.region, name="failures")
        self.failures.set_peer(FAILURES_PER_SECOND, FAILURES_AT_ONCE)
        self.epoch = 1
        self.attempts = {}
        self.of_peer = {}
        self.waiting_of = {}

    # ---- the hot path

    cdef Outcome identify(self, Stream *s, int64_t now) noexcept:
        """A token or key says more than the connection's certificate: a mesh's belongs to the hop, the token to the caller.

        A credential that does not hold ends the call: neither the certificate nor an anonymous rule stands in for it.
        """
        cdef Conn *c = s.conn
        if s.credentials > 1:
            return deny(s, TEXT_SEVERAL)
        if s.credentials:
            if s.credential_state == CREDENTIAL_NEW:
                try:
                    self.begin(s, now)
                except MemoryError:
                    deny_for_now(s, REASON_ACCESS_BUSY, BUSY_RETRY)
                return WAITING if s.attempt != NULL else DENIED
            if s.credential_state == CREDENTIAL_EXPIRED:
                return deny(s, TEXT_EXPIRED)
            if s.credential_state == CREDENTIAL_TOO_LARGE:
                return deny(s, TEXT_TOO_LARGE)
            if s.credential_state == CREDENTIAL_NO_ROOM:
                return deny_for_now(s, REASON_ACCESS_BUSY, BUSY_RETRY)
            if s.credential_state != CREDENTIAL_KNOWN:
                return deny(s, TEXT_INVALID)
        elif c.caller != NULL:
            if now >= c.caller_until or c.caller_stamp != c.caller.stamp:
                (<Connection>c.owner).drain()
                return deny(s, TEXT_CERTIFICATE)
            take(s, c.caller, INT64_MAX)
            s.by_certificate = True
        elif self.identities.anonymous.grant != NULL:
            take(s, &self.identities.anonymous, INT64_MAX)
        else:
            return deny(s, TEXT_NONE)
        return IDENTIFIED

    cdef bint permit(self, const Stream *s, uint32_t model, uint8_t permits, Verdict *v) noexcept:
        """A caller that may not call the model does not learn whether it is served."""
        if s.caller.stamp != s.caller_stamp:
            return no(v, REASON_UNAUTHENTICATED, TEXT_REVOKED)
        if (may(s.caller, model, permits) if model != NOT_SERVED
                else (s.caller.grant.of_others & permits) == permits):
            return True
        return no(v, REASON_PERMISSION_DENIED, "this identity may not call this method of this model")

    cdef bint permit_method(self, const Stream *s, uint8_t permits, Verdict *v) noexcept:
        """Before a message says which model; permits 0: any identity may."""
        if s.caller.stamp != s.caller_stamp:
            return no(v, REASON_UNAUTHENTICATED, TEXT_REVOKED)
        if (s.caller.grant.of_any & permits) == permits:
            return True
        return no(v, REASON_PERMISSION_DENIED, "this identity may not call this method")

    # ---- calls that stay open

    cdef bint stands(self, const Stream *s, int64_t now, Verdict *v) noexcept:
        cdef const Conn *c = s.conn
        if now >= (c.caller_until if s.by_certificate else s.caller_until):
            return no(v, REASON_UNAUTHENTICATED, TEXT_CERTIFICATE if s.by_certificate else TEXT_EXPIRED_OPEN)
        if s.caller_epoch and s.caller_epoch != self.epoch:
            return no(v, REASON_UNAUTHENTICATED, TEXT_WITHDRAWN)
        return self.permit_method(s, s.permits, v)

    def withdraw(self):
        """A key that has signed tokens counts no more: calls that are open by a token must be opened again."""
        self.epoch += 1

    # ---- credentials that are not known

    cdef int begin(self, Stream *s, int64_t now) except -1:
        """Lets the stream wait for whoever checks its credential, or refuses it."""
        cdef Attempt attempt
        cdef int64_t retry
        key = s.credential_hash[0], s.credential_hash[1]
        attempt = self.attempts.get(key)
        of_peer = self.of_peer.get(s.peer, 0)
        retry = self.wait_of(s.peer, of_peer, now)
        if retry > 0:
            deny_for_now(s, REASON_CREDENTIALS_LIMIT, retry)
            return 0
        waiting_of = self.waiting_of.get(s.peer, 0)
        # a peer has no more of either than is free: several who take all that they can leave as much for another
        if waiting_of >= WAITING_STREAMS - <int>self.waiting or attempt is None and (
                of_peer >= min(<int>ATTEMPTS_OF_PEER, <int>ATTEMPTS - len(self.attempts))):
            deny_for_now(s, REASON_ACCESS_BUSY, BUSY_RETRY)
            return 0
        is_new = attempt is None
        if is_new:
            self.misses += 1
            attempt = Attempt()
            attempt.access = self
            attempt.hash[0], attempt.hash[1] = s.credential_hash[0], s.credential_hash[1]
            attempt.peer = s.peer
            attempt.is_key = s.credential_is_key
            attempt.peer_name = (<Connection>s.conn.owner).peer_name
            attempt.credential = (<char *>s.credential.data)[:s.credential.size]
            self.attempts[key] = attempt
            self.of_peer[s.peer] = of_peer + 1
        release(s.conn.wire, &s.credential)
        s.attempt = <PyObject *>attempt
        s.next_waiting = attempt.first
        attempt.first = s
        self.waiting += 1
        self.waiting_of[s.peer] = waiting_of + 1
        if is_new:
            self.verify(attempt)
        return 0

    cdef int64_t wait_of(self, uint64_t peer, int under_way, int64_t now) noexcept:
        """0, or ns until the peer may have one more credential checked: those under way may all turn out to be bad."""
        cdef int64_t tolerance = self.failures.peer.rate.tolerance_ns, wait
        self.failures.peer.rate.tolerance_ns -= under_way * self.failures.peer.rate.interval_ns
        wait = self.failures.peek_peer(peer, 0, now)
        self.failures.peer.rate.tolerance_ns = tolerance
        return wait

    @property
    def busy(self) -> bool:
        """A stream waits for its credential to be checked."""
        return self.waiting > 0

    def clear(self):
        """What was verified or refused must be verified anew: keys have changed. Open streams go on."""
        self.good.clear()
        self.bad.clear()

    # ---- certificates

    def introduce(self, Connection connection not None, str source not None, str name not None, int64_t until_ns):
        """The connection's certificate is of `name`, until a moment of the monotonic clock. False: no room for it."""
        cdef Identity *identity = self.identities.of(source, name)
        if identity == NULL:
            return False
        identity.references += 1
        connection.conn.caller = identity
        connection.conn.caller_stamp = identity.stamp
        connection.conn.caller_until = until_ns
        return True

    def dismiss(self):
        """No certificate shown so far counts any more: connections that showed one are told to connect again."""
        cdef Connection connection
        for connection in list(self.listener.connections):
            if connection.conn.caller != NULL:
                connection.conn.caller_until = 0
                connection.drain()
        flush_all(&self.listener.wire)

    def totals(self) -> dict:
        """Counters, and gauges of now."""
        cdef int64_t now = mw_now_ns()
        return {
            "hits": self.hits, "misses": self.misses, "refused": self.refused, "known_bad": self.known_bad,
            "cached": self.good.count(now), "waiting": self.waiting, "identities": len(self.identities.slots),
        }
