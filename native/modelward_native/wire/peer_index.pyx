"""Items by the peer that holds them: every step is O(1), however many peers there are. Every listener has one of these."""
from collections import OrderedDict

cdef object EMPTY = ()


cdef class PeerIndex:
    """Items by their peer, the idlest first, and peers by how many items they have.

    It bounds nothing by itself: its owner asks who has how many, and who is to make way.
    """

    def __cinit__(self):
        self.peers = {}
        self.by_count = {}

    cpdef object of(self, object peer):
        """The items of a peer, the idlest first: a collection that is not to be changed."""
        return self.peers.get(peer, EMPTY)

    cpdef int enter(self, object peer, object item) except -1:
        """An item that is not there yet is counted, as the one that was active last."""
        items = self.peers.get(peer)
        if items is None:
            items = self.peers[peer] = OrderedDict()
        items[item] = None
        self.taken += 1
        return self.move(peer, len(items) - 1, len(items))

    cpdef bint leave(self, object peer, object item) except -1:
        """Counted no more; False where it was not."""
        items = self.peers.get(peer)
        if items is None or item not in items:
            return False
        del items[item]
        if not items:
            del self.peers[peer]
        self.taken -= 1
        self.move(peer, len(items) + 1, len(items))
        return True

    cpdef int touch(self, object peer, object item) except -1:
        """The item has been active."""
        items = self.peers.get(peer)
        if items is not None and item in items:
            items.move_to_end(item)
        return 0

    cpdef list largest(self, int count):
        """At most `count` peers, those with the most items first. Of equals others come first the next time."""
        cdef int size = self.most
        found = []
        while size > 0 and len(found) < count:
            peers = self.by_count.get(size, EMPTY)
            for _ in range(min(count - len(found), len(peers))):
                peer = next(iter(peers))
                peers.move_to_end(peer)
                found.append(peer)
            size -= 1
        return found

    cdef int move(self, object peer, int before, int after) except -1:
        if before:
            peers = self.by_count[before]
            del peers[peer]
            if not peers:
                del self.by_count[before]
        if after:
            peers = self.by_count.get(after)
            if peers is None:
                peers = self.by_count[after] = OrderedDict()
            peers[peer] = None
        if after > self.most:
            self.most = after
        elif before == self.most and before not in self.by_count:
            self.most = after      # it had the most, and has one less
        return 0
