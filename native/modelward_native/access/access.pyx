"""Who calls one server, and may they: the tables, and what Python does with them."""
from libc.stdint cimport int64_t, uint32_t

import os

from modelward_native.access.identities cimport Identities
from modelward_native.access.identity cimport Identity
from modelward_native.access.tokens cimport Tokens
from modelward_native.limits.limit cimport Limiter
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.wire.connection cimport Connection
from modelward_native.wire.listener cimport Listener
from modelward_native.wire.tick cimport flush_all

cdef enum:
    BAD_TOKENS = 4096
    FAILING_PEERS = 65536

cdef double FAILURES_PER_SECOND = 20      # of one peer
cdef int FAILURES_AT_ONCE = 100


cdef class Access:
    """Hand it to modelward_native.request.server.Server.guard.

    rules: as access.identities.Identities takes them. identities, tokens: capacities. key: 16 bytes for SipHash, random
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

    @property
    def busy(self) -> bool:
        """A stream waits for its credential to be checked."""
        return self.waiting > 0

    def clear(self):
        """What was verified or refused must be verified again: keys have changed. Open streams go on."""
        self.good.clear()
        self.bad.clear()

    def withdraw(self):
        """A key that has signed tokens counts no more: calls that are open by a token must be opened again."""
        self.epoch += 1

    def introduce(self, Connection connection not None, str source not None, str name not None, int64_t until_ns):
        """The connection's certificate is of `name`, until a moment of the monotonic clock. False: no slot is free for it."""
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
