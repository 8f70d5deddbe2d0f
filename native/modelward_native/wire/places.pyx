"""Places that holders share: every step is O(1), however many holders there are. Every listener has one of these."""
from collections import OrderedDict

cdef object EMPTY = ()


cdef class Places:
    """Items by their holder, the idlest first, and holders by how many items they have.

    It bounds nothing by itself: its owner asks who has how many, and who is to make way.
    """

    def __cinit__(self):
        self.holders = {}
        self.by_count = {}

    cpdef object of(self, object holder):
        """The items of a holder, the idlest first: a collection that is not to be changed."""
        return self.holders.get(holder, EMPTY)

    cpdef int enter(self, object holder, object item) except -1:
        """An item that is not there yet takes a place, as the one that was active last."""
        items = self.holders.get(holder)
        if items is None:
            items = self.holders[holder] = OrderedDict()
        items[item] = None
        self.taken += 1
        return self.move(holder, len(items) - 1, len(items))

    cpdef bint leave(self, object holder, object item) except -1:
        """Gives a place back; False where the item has none."""
        items = self.holders.get(holder)
        if items is None or item not in items:
            return False
        del items[item]
        if not items:
            del self.holders[holder]
        self.taken -= 1
        self.move(holder, len(items) + 1, len(items))
        return True

    cpdef int touch(self, object holder, object item) except -1:
        """The item has been active."""
        items = self.holders.get(holder)
        if items is not None and item in items:
            items.move_to_end(item)
        return 0

    cpdef list largest(self, int count):
        """Up to so many holders, those with the most items first. Of equals others come first the next time."""
        cdef int size = self.most
        found = []
        while size > 0 and len(found) < count:
            holders = self.by_count.get(size, EMPTY)
            for _ in range(min(count - len(found), len(holders))):
                holder = next(iter(holders))
                holders.move_to_end(holder)
                found.append(holder)
            size -= 1
        return found

    cdef int move(self, object holder, int before, int after) except -1:
        if before:
            holders = self.by_count[before]
            del holders[holder]
            if not holders:
                del self.by_count[before]
        if after:
            holders = self.by_count.get(after)
            if holders is None:
                holders = self.by_count[after] = OrderedDict()
            holders[holder] = None
        if after > self.most:
            self.most = after
        elif before == self.most and before not in self.by_count:
            self.most = after      # it had the most, and has one less
        return 0
