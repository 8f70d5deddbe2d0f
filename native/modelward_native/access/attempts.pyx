"""Credentials that are not known, checked by Python: each once, however many streams wait for it."""
from cpython.ref cimport PyObject
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.access.access cimport Access
from modelward_native.access.credentials cimport (
    CREDENTIAL_EXPIRED, CREDENTIAL_INVALID, deny_credential, deny_for_now, set_caller)
from modelward_native.access.identity cimport Identity
from modelward_native.wire.connection cimport connection_of
from modelward_native.wire.holding cimport release
from modelward_native.wire.receive cimport proceed
from modelward_native.wire.tick cimport flush_all
from modelward_native.wire.types cimport METHOD_REFUSED, Stream
from modelward_native.request.streams cimport on_identified
from modelward_native.request.verdict cimport REASON_ACCESS_BUSY, REASON_ACCESS_UNAVAILABLE, REASON_CREDENTIALS_LIMIT, RETRY_NS
from modelward_native.timer.clock cimport mw_now_ns

cdef enum:
    ATTEMPTS = 512                # credentials being checked at a time: each costs about 0.2 ms
    ATTEMPTS_OF_PEER = 64         # below FAILURES_AT_ONCE (access.pyx)
    WAITING_STREAMS = 2048        # each holds a window of its request at most
    UNAVAILABLE_RETRY_NS = 1000000000

cdef int64_t BAD_NS = 10000000000         # for which the same bytes are refused unchecked


cdef class Attempt:
    """One credential that is being checked. What checks it calls exactly one of accept, reject and postpone."""

    @property
    def wanted(self) -> bool:
        """A stream still waits for the outcome."""
        return self.first != NULL

    def accept(self, str source not None, str name not None, expires_ns=None):
        """It belongs to `name`; expires_ns: of the monotonic clock, None for never. `source` is what proved it."""
        cdef Access access = self.access
        cdef Identity *identity
        cdef Stream *s
        cdef int64_t now, until = INT64_MAX if expires_ns is None else expires_ns
        self.finish()
        now = access.listener.wire.now
        identity = access.identities.of(source, name)
        if identity != NULL:
            access.good.put(self.hash, <uint32_t>(identity - access.identities.slot), identity.stamp, until, now)
        while self.first != NULL:
            s = self.next()
            if s.method == METHOD_REFUSED:
                pass
            elif identity == NULL:
                deny_for_now(s, REASON_ACCESS_BUSY, RETRY_NS)
            else:
                set_caller(access, s, identity, until)
                on_identified(s, now)
            proceed(s)
        self.flush()

    def reject(self, bint expired=False):
        """It proves nothing, or no longer. The peer pays for it, and the same bytes are refused unchecked for a while."""
        cdef Access access = self.access
        cdef Stream *s
        cdef int64_t now, retry = 0
        cdef uint8_t state = CREDENTIAL_EXPIRED if expired else CREDENTIAL_INVALID
        self.finish()
        now = access.listener.wire.now
        access.refused += 1
        access.failures.admit_peer(self.peer, 1, now, &retry)
        access.bad.put(self.hash, state, 0, now + BAD_NS, now)
        while self.first != NULL:
            s = self.next()
            if s.method != METHOD_REFUSED:
                deny_credential(s, state)
            proceed(s)
        self.flush()

    def postpone(self):
        """It cannot be checked at the moment."""
        cdef Stream *s
        self.finish()
        while self.first != NULL:
            s = self.next()
            if s.method != METHOD_REFUSED:
                deny_for_now(s, REASON_ACCESS_UNAVAILABLE, UNAVAILABLE_RETRY_NS)
            proceed(s)
        self.flush()

    cdef Stream *next(self) except? NULL:
        """A stream that has waited, which no longer refers to this."""
        cdef Stream *s = self.first
        self.unlink(s)
        return s

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

    cdef int finish(self) except -1:
        """From now on the same credential is another attempt."""
        cdef Access access = self.access
        access.listener.wire.now = mw_now_ns()
        key = self.hash[0], self.hash[1]
        if access.attempts.get(key) is self:
            del access.attempts[key]
            access.of_peer[self.peer] -= 1
            if access.of_peer[self.peer] == 0:
                del access.of_peer[self.peer]
        return 0

    def flush(self):
        """What was decided between two reads leaves at once, unless a batch is about to."""
        if not self.access.listener.wire.batch_pending:
            flush_all(&self.access.listener.wire)


cdef int check(Access access, Stream *s, int64_t now) except -1:
    cdef Attempt attempt
    cdef int64_t retry
    key = s.credential_hash[0], s.credential_hash[1]
    attempt = access.attempts.get(key)
    of_peer = access.of_peer.get(s.peer, 0)
    retry = wait_of(access, s.peer, of_peer, now)
    if retry > 0:
        deny_for_now(s, REASON_CREDENTIALS_LIMIT, retry)
        return 0
    waiting_of = access.waiting_of.get(s.peer, 0)
    # a peer has no more of either than is free: several who take all that they can leave as much for another
    if waiting_of >= WAITING_STREAMS - <int>access.waiting or attempt is None and (
            of_peer >= min(<int>ATTEMPTS_OF_PEER, <int>ATTEMPTS - len(access.attempts))):
        deny_for_now(s, REASON_ACCESS_BUSY, RETRY_NS)
        return 0
    is_new = attempt is None
    if is_new:
        access.misses += 1
        attempt = Attempt()
        attempt.access = access
        attempt.hash[0], attempt.hash[1] = s.credential_hash[0], s.credential_hash[1]
        attempt.peer = s.peer
        attempt.is_key = s.credential_is_key
        attempt.peer_name = connection_of(s.conn).peer_name
        attempt.credential = (<char *>s.credential.data)[:s.credential.size]
        access.attempts[key] = attempt
        access.of_peer[s.peer] = of_peer + 1
    release(s.conn.wire, &s.credential)
    s.attempt = <PyObject *>attempt
    s.next_waiting = attempt.first
    attempt.first = s
    access.waiting += 1
    access.waiting_of[s.peer] = waiting_of + 1
    if is_new:
        access.verify(attempt)
    return 0


cdef int64_t wait_of(Access access, uint64_t peer, int under_way, int64_t now) noexcept:
    """0, or ns until the peer may have one more credential checked: those under way may all turn out to be bad."""
    cdef int64_t tolerance = access.failures.peer.rate.tolerance_ns, wait
    access.failures.peer.rate.tolerance_ns -= under_way * access.failures.peer.rate.interval_ns
    wait = access.failures.peek_peer(peer, 0, now)
    access.failures.peer.rate.tolerance_ns = tolerance
    return wait
