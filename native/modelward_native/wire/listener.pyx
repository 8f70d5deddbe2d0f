"""What the connections of one listening socket share: which are admitted, which make way, and what they are told."""
from cpython.buffer cimport PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject
from libc.limits cimport INT_MAX
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc

from collections import OrderedDict

from modelward_native.limits.callers cimport Callers
from modelward_native.limits.limit cimport MW_ADMITTED, MW_LEVEL_PEER, Limiter
from modelward_native.region.region cimport Region
from modelward_native.request.streams cimport on_working
from modelward_native.timer.deadline cimport Wheel
from modelward_native.wire.close_reason cimport (
    CLOSE_DESCRIPTORS, CLOSE_FULL, CLOSE_IDLE, CLOSE_NONE, CLOSE_PEER_FULL, CLOSE_PEER_RATE, CLOSE_REASONS,
    CLOSE_REFUSED_END, CLOSE_ROOM, close_reason_name)
from modelward_native.wire.connection cimport Connection, settle
from modelward_native.wire.forwarded cimport limit_of, networks_of
from modelward_native.wire.holders cimport MW_HOLDER_BUCKETS, MW_HOLDER_WAYS, mw_holder, mw_holder_factor, mw_holders
from modelward_native.wire.networks cimport Networks
from modelward_native.wire.peer_index cimport PeerIndex
from modelward_native.wire.sites cimport mw_sites, mw_sites_new
from modelward_native.wire.transport cimport READ_SIZE, WRITE_SIZE
from modelward_native.wire.types cimport Conn, Stream, Traffic

from modelward_native.wire import connection as kind

cdef extern from "<malloc.h>" nogil:
    int mallopt(int, int)
    enum:
        M_MMAP_THRESHOLD
        M_TRIM_THRESHOLD

cdef enum:
    PEER_KEYS = 65536             # peers whose new connections and whose resets are counted
    KEPT_BYTES = 33554432
    PEER_RESET_RATE = 500         # over all connections of a peer; flood.h has those of one
    PEER_RESET_BURST = 5000
    IDLE_SAMPLE = 128             # connections looked at to find the one that has brought nothing for longest
    STREAM_SAMPLE = 1024          # and their open streams; connections with more count as busy
    LARGEST_PEERS = 8             # of those that hold the most, looked at for one that is idle
    IPV6_BITS = 64

# What is freed is kept up to here. The C library would give an answer's mebibyte back to the kernel and take it again with the
# next: page faults were a third of the CPU of an answer of 1 MiB (1.9 ms; 1.2 with this).
mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
# And it would give the end of the heap back within a free(), all of it: 37 ms for 386 MiB (modelward/server/memory.py does it).
mallopt(M_TRIM_THRESHOLD, INT_MAX)

cdef int64_t SECOND = 1000000000
cdef bytes TRAFFIC = b"traffic"
cdef int64_t NEVER = INT64_MAX // 2   # longer than anything else is ago


cdef bint is_busy(const Conn *c, int *most) noexcept:
    """Whether we work for its client, or it has too many streams to look at all of them."""
    cdef Stream *s = c.streams
    while s != NULL:
        most[0] -= 1
        if most[0] < 0 or on_working(s):
            return True
        s = s.next
    return False


cdef class Listener:
    """What the connections of one listening socket share. Call it to get a protocol for a new connection."""

    def __cinit__(self, Wheel wheel, Limiter limiter, Region region=None):
        self.region = Region() if region is None else region
        self.wire.gauges, self.wire.slots = self.region.own, self.region.header
        self.wire.traffic = <Traffic *>self.region.block(TRAFFIC, sizeof(Traffic))
        self.wheel = wheel
        self.limiter = limiter
        self.callers = Callers(self.region)
        self.wire.wheel, self.wire.limiter = <PyObject *>wheel, <PyObject *>limiter
        self.max_connections = 20000
        self.max_per_peer = 1000
        self.max_here = 1 << 30
        self.wire.peer_bits = IPV6_BITS
        self.wire.message_size = 16 << 20
        self.wire.inflight_limit = 256 << 20
        self.wire.share_factor = mw_holder_factor(0.5)
        self.wire.holders = <mw_holders *>calloc(1, sizeof(mw_holders))
        self.wire.max_streams = 128
        self.wire.handshake_timeout = 5 * SECOND
        self.wire.request_timeout = 30 * SECOND
        self.wire.idle_stream_timeout = 300 * SECOND
        self.wire.idle_connection_timeout = 3600 * SECOND
        self.wire.stall_timeout = 30 * SECOND
        self.wire.read_buffer = <uint8_t *>malloc(READ_SIZE)
        self.wire.write_buffer = <uint8_t *>malloc(WRITE_SIZE)
        if self.wire.read_buffer == NULL or self.wire.write_buffer == NULL or self.wire.holders == NULL:
            raise MemoryError
        self.read_view = PyMemoryView_FromMemory(<char *>self.wire.read_buffer, READ_SIZE, PyBUF_WRITE)
        self.wire.read_view = <PyObject *>self.read_view
        self.connections = OrderedDict()
        self.peers = PeerIndex()
        self.networks = Networks()
        self.last_peers = [""] * <int>CLOSE_REASONS
        self.resets = Limiter(PEER_KEYS, region=self.region, name="resets")
        self.resets.set_peer(PEER_RESET_RATE, PEER_RESET_BURST)

    def __dealloc__(self):
        free(self.wire.holders)
        free(self.wire.proxies)
        free(self.wire.limited)
        free(self.wire.sites)
        free(self.wire.read_buffer)
        free(self.wire.write_buffer)

    def __call__(self):
        return kind.BufferedConnection(self)

    def set_sizes(self, size_t message_size, size_t inflight_bytes, uint32_t streams, double share=0.5):
        """Largest message, messages held over all connections of all processes (both bytes), streams per connection.

        share: of the messages held, 0 to 1, that one peer or identity may have while no other has any.
        """
        self.wire.message_size = message_size
        self.wire.inflight_limit = inflight_bytes
        self.wire.share_factor = mw_holder_factor(share)
        self.wire.max_streams = streams

    def set_arrivals(self, double per_second):
        """New connections of one peer address: a rate, and a second's worth at once."""
        if self.arrivals is None:
            self.arrivals = Limiter(PEER_KEYS, region=self.region, name="arrivals")
        self.arrivals.set_peer(per_second, max(<int>per_second, 1))

    def set_proxies(self, list networks not None, bint unix):
        """Whose x-forwarded-for counts, of connections from now on: networks as (16 bytes, bits); unix: any Unix socket's."""
        proxies = networks_of(networks)
        free(self.wire.proxies)
        self.wire.proxies = proxies
        self.wire.proxy_count = <uint32_t>len(networks)
        self.trusts_unix = unix
        self.make_sites()

    def set_limited(self, list networks not None):
        """Whose peers the limiter's overrides 1, 2, ... are for; the most specific come first."""
        cdef Connection connection
        cdef Conn *c
        cdef Stream *s
        limited = networks_of(networks)
        free(self.wire.limited)
        self.wire.limited = limited
        self.wire.limited_count = <uint32_t>len(networks)
        for connection in self.connections:
            c = &connection.conn
            c.peer_limit = limit_of(&self.wire, c.address)
            s = c.streams
            while s != NULL:
                # of one whose peer a proxy has told, the address is not known any more
                s.peer_limit = c.peer_limit if s.peer == c.peer else 0
                s = s.next

    def set_timeouts(self, int64_t handshake, int64_t request, int64_t idle_stream, int64_t idle_connection, int64_t stalled):
        """All in ns."""
        self.wire.handshake_timeout = handshake
        self.wire.request_timeout = request
        self.wire.idle_stream_timeout = idle_stream
        self.wire.idle_connection_timeout = idle_connection
        self.wire.stall_timeout = stalled

    def set_ipv6(self, int bits, int peers):
        """Bits of an IPv6 address that are one peer, 48 to 128; peers of one /48 that have budgets of their own."""
        if not 48 <= bits <= 128:
            raise ValueError(f"{bits} bits of an address are no peer")
        self.wire.peer_bits = bits
        self.networks.most = peers
        self.make_sites()

    cdef int make_sites(self) except -1:
        cdef mw_sites *sites = self.wire.sites
        if not self.wire.proxy_count and not self.trusts_unix or sites != NULL and <int>sites.most == self.networks.most:
            return 0
        sites = mw_sites_new(<uint32_t>self.networks.most)
        if sites == NULL:
            raise MemoryError
        free(self.wire.sites)
        self.wire.sites = sites
        return 0

    @property
    def leaving(self) -> int:
        """Connections that have made way for others, and are not closed yet."""
        return self.sockets - <int>self.wire.connections

    def shed(self):
        """Frees a descriptor, where a connection is idle; False where none is. To be called where there are no more."""
        self.wire.close_reasons[<int>CLOSE_DESCRIPTORS] += 1
        return self.make_room_for_all()

    def holders(self) -> list:
        """Bytes in flight by peer and by identity, the most first; an identity's are its peer's too."""
        cdef const mw_holder *cell = &self.wire.holders.cell[0][0]
        cdef Py_ssize_t i
        found = []
        if self.wire.holders.live:
            found = [cell[i].bytes for i in range(<Py_ssize_t>MW_HOLDER_BUCKETS * MW_HOLDER_WAYS) if cell[i].key]
        return sorted(found, reverse=True)

    def close_reasons(self) -> dict:
        """Connections refused and closed since the start, by why, and the last peer of each: {why: (count, peer)}."""
        return {close_reason_name(i).decode(): (self.wire.close_reasons[i], self.last_peers[i])
                for i in range(1, <int>CLOSE_REASONS) if i != CLOSE_REFUSED_END}

    cdef int note(self, Connection connection, int why) except -1:
        self.wire.close_reasons[why] += 1
        self.last_peers[why] = connection.peer_name
        if why != CLOSE_IDLE and why != CLOSE_ROOM:
            if connection.conn.session != NULL:
                settle(&connection.conn)
            self.callers.note_closed(&connection.conn, self.hash_of(connection.peer_key))
        return 0

    cdef int admit(self, Connection connection, bytes key) except -1:
        """CLOSE_NONE, or why there is no place for it."""
        cdef int64_t retry = 0
        cdef uint64_t peer = self.hash_of(key)
        of_peer = self.peers.of(key)
        if self.arrivals is not None and self.arrivals.admit_peer(peer, 1, self.wire.now, &retry) != MW_ADMITTED:
            return CLOSE_PEER_RATE
        if not self.has_place(peer, len(of_peer)) and not self.make_room(of_peer):
            return CLOSE_PEER_FULL
        if (self.region.connections() >= <uint64_t>self.max_connections
                or <int64_t>self.wire.connections >= self.max_here) and not self.make_room_for_all():
            return CLOSE_FULL
        self.peers.enter(key, connection)
        self.region.count_peer(peer, len(self.peers.of(key)))
        self.connections[connection] = None
        self.wire.connections += 1
        self.region.own.connections = self.wire.connections
        return CLOSE_NONE

    cdef uint64_t hash_of(self, bytes key) noexcept:
        """The region's hash: the same in every process."""
        return self.resets.hash(MW_LEVEL_PEER, <const char *>key, len(key))

    cdef bint has_place(self, uint64_t peer, int own) noexcept:
        """Whether a peer with `own` connections here may have one more, over all processes.

        A peer that no table has room for has an equal share of the limit in each process: filling a table gains nothing.
        """
        cdef int most = self.max_per_peer
        if not self.region.sees_peer(peer):
            most = max(most // <int>self.region.header.opened, 1)
        return own + <int64_t>self.region.peer_in_other_workers(peer) < most

    cdef bint make_room(self, object connections) except -1:
        cdef Connection idlest = self.idlest(connections)
        return idlest is not None and self.dismiss(idlest)

    cdef bint make_room_for_all(self) except -1:
        """Closes a connection that is not busy, so that there is a place, or a descriptor, for another.

        First one that has been silent for a second since it came. Then the idlest of the peer that holds the most, so that what
        one peer holds never keeps another out; where its are all busy, that of the next.
        """
        cdef Connection idlest, any_idle = self.idlest(self.connections)
        if any_idle is not None and not any_idle.transport.handshaken and self.wire.now - any_idle.transport.opened > SECOND:
            return self.dismiss(any_idle)
        if self.peers.most > 1:
            for key in self.peers.largest(LARGEST_PEERS):
                idlest = self.idlest(self.peers.of(key))
                if idlest is not None:
                    return self.dismiss(idlest)
        return any_idle is not None and self.dismiss(any_idle)

    cdef Connection idlest(self, object connections):
        """Of those that are not busy the one that has brought nothing for longest: first of those that never have.

        What counts is a whole message, or an answer that was taken. Handshakes, pings and calls whose messages do not arrive
        cost a client nothing, so that strangers could hold every place with them.
        Of a sample that goes round, so that a full house costs newcomers no more than a small one.
        """
        cdef Connection connection, idlest = None
        cdef const Conn *c
        cdef int64_t since, earliest = INT64_MAX
        cdef int streams = STREAM_SAMPLE
        for _ in range(min(len(connections), <int>IDLE_SAMPLE)):
            connection = next(iter(connections))
            connections.move_to_end(connection)
            c = &connection.conn
            since = c.progress if c.progress > c.transport.opened else c.transport.opened - NEVER
            if since < earliest and not c.transport.closing and not is_busy(c, &streams):
                earliest = since
                idlest = connection
        return idlest

    cdef int dismiss(self, Connection connection) except -1:
        """It makes way for another, whose place or descriptor this is from now on."""
        self.forget(connection)
        connection.make_way()
        return 1

    cdef int forget(self, Connection connection) except -1:
        if connection not in self.connections:
            return 0
        del self.connections[connection]
        self.wire.connections -= 1
        self.region.own.connections = self.wire.connections
        self.peers.leave(connection.peer_key, connection)
        self.region.count_peer(self.hash_of(connection.peer_key), len(self.peers.of(connection.peer_key)))
        connection.leave_networks()
        return 0
