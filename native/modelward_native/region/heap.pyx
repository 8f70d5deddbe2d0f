"""Memory that the C library keeps when it is freed, given back to the system without holding the loop.

malloc_trim holds the heap's lock while the kernel takes the pages away: 30 ms for 256 MiB, 280 ms for 1 GiB, in which the
loop's next malloc waits. So the loop takes the free memory, in pieces; another thread gives their pages back, which needs no
lock; and the loop frees the pieces again.
"""
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc, realloc

cdef extern from "<malloc.h>" nogil:
    int malloc_trim(size_t)

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void *, size_t, int)
    int mincore(void *, size_t, unsigned char *)
    enum:
        MADV_DONTNEED

cdef enum:
    PAGE = 4096                   # or a divisor of the system's
    LARGEST = 4194304             # bytes of a piece
    LARGEST_PAGES = 1024

cdef struct Piece:
    void *data                    # owned
    size_t size


def trim() -> None:
    """Gives back what is left in fragments; from any thread. Waiting for it, others wait for the heap: see above."""
    with nogil:
        malloc_trim(0)


cdef class Pieces:
    """Pieces of free memory. What `free` leaves goes with this object, which stays as long as a thread is in `clear`."""

    cdef Piece *piece             # owned
    cdef size_t count
    cdef size_t cleared

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.count):
            free(self.piece[i].data)
        free(self.piece)

    def take(self, size_t size, size_t count) -> None:
        """`count` more of that size; from the loop's thread, whose heap it is. MemoryError for want of any."""
        cdef Piece *grown
        cdef void *data
        cdef size_t _
        if size > LARGEST:
            raise ValueError(f"a piece of {size} bytes, {LARGEST} are the most")
        grown = <Piece *>realloc(self.piece, (self.count + count) * sizeof(Piece))
        if grown == NULL:
            raise MemoryError
        self.piece = grown
        for _ in range(count):
            data = malloc(size)
            if data == NULL:
                raise MemoryError
            self.piece[self.count] = Piece(data, size)
            self.count += 1

    def free(self, size_t most) -> bool:
        """Frees that many of them, from the loop's thread; False where there are no more."""
        while self.count and most:
            self.count -= 1
            most -= 1
            free(self.piece[self.count].data)
        self.cleared = min(self.cleared, self.count)
        return self.count > 0

    def clear(self) -> int:
        """Gives the pages of those that were taken since the last call back; how many bytes that was. From any thread."""
        cdef size_t given = 0
        with nogil:
            while self.cleared < self.count:
                given += give_back(&self.piece[self.cleared])
                self.cleared += 1
        return given


cdef size_t give_back(const Piece *piece) noexcept nogil:
    cdef unsigned char present[LARGEST_PAGES]
    cdef uintptr_t begin = (<uintptr_t>piece.data + PAGE - 1) // PAGE * PAGE
    cdef uintptr_t end = (<uintptr_t>piece.data + piece.size) // PAGE * PAGE
    cdef size_t i, given = 0
    if begin >= end or mincore(<void *>begin, end - begin, present) != 0:
        return 0
    for i in range((end - begin) // PAGE):
        given += PAGE * (present[i] & 1)
    if given:
        madvise(<void *>begin, end - begin, MADV_DONTNEED)
    return given
