"""Which peers of an IPv6 network have budgets of their own: the first few of a /56 and of a /48.

A client with one IPv6 address has at least the 2^64 of its network, and often 65,536 such networks. With a budget for each, a
host that goes from one to the next would have 65,536 budgets. So a /48 has a few peers, and all others in it share one more
budget. A peer that leaves keeps its place for a minute. By then its debt is paid, so the next one in that place gains nothing.
"""
from collections import OrderedDict
from libc.stdint cimport int64_t

cdef enum:
    NETWORKS = 8192                   # that are remembered without a connection
    SEARCHED = 16                     # of these, looked at for one to forget

cdef int64_t KEPT_NS = 60 * 1000000000
cdef tuple LEVELS = ((7, 4), (6, 1))  # bytes of a network, and which part of `most` it may have


cdef class Networks:
    def __cinit__(self, int most=16):
        self.most = most
        self.members = {}
        self.order = OrderedDict()

    cdef tuple enter(self, bytes address, bytes peer, int64_t now):
        """The key whose budgets a new connection has, and what to give to `leave`. peer: the key that it would have alone."""
        cdef list entered = []
        for size, part in LEVELS:
            network = address[:size]
            if len(peer) <= size:
                continue
            members = self.members.get(network)
            if members is None:
                self.forget_one(now)
                members = self.members[network] = OrderedDict()
            self.order[network] = None
            self.order.move_to_end(network)
            member = members.get(peer)
            if member is None:
                if len(members) >= max(self.most // part, 1) and not self.vacate(members, now):
                    peer = network
                    continue
                member = members[peer] = [0, now]
            member[0] += 1
            entered.append((network, peer))
        return peer, tuple(entered)

    cdef int leave(self, tuple entered, int64_t now) except -1:
        for network, peer in entered:
            member = self.members[network][peer]
            member[0] -= 1
            member[1] = now
        return 0

    cdef bint vacate(self, object members, int64_t now) except -1:
        """Takes the place of a peer that has gone long enough ago."""
        for peer, (connections, left) in members.items():
            if connections == 0 and now - <int64_t>left > KEPT_NS:
                del members[peer]
                return True
        return False

    cdef int forget_one(self, int64_t now) except -1:
        """Makes room for one more network: where there are many, drops one without a connection."""
        if len(self.members) < NETWORKS:
            return 0
        for _ in range(SEARCHED):
            network = next(iter(self.order))
            if not any(connections for connections, _ in self.members[network].values()):
                del self.order[network]
                del self.members[network]
                return 0
            self.order.move_to_end(network)
        return 0
