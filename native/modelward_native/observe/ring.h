/* A ring of records that one process writes and one other reads, in memory that they share.
 *
 * No lock, no clock, no I/O. A record is contiguous and a multiple of 8 bytes; where the end of the ring is too near, a record
 * that is skipped fills it. The newest is dropped where there is no room. The writer may die at any moment: a record counts
 * once `written` has moved past it. Neither side trusts the other's positions: see mw_ring_next. */
#ifndef MODELWARD_RING_H
#define MODELWARD_RING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint64_t size;                 /* bytes of data, a multiple of 8 */
    uint64_t kept;                 /* records; written by the writer alone, as the next two */
    uint64_t dropped;              /* for want of room */
    uint64_t cut;                  /* kept without their tensors or their answer, which were too large */
    _Alignas(64) uint64_t written; /* bytes that were ever written, and read: they only grow */
    _Alignas(64) uint64_t read;
    _Alignas(64) uint8_t data[];
} mw_ring;

/* What every record begins with. */
typedef struct {
    uint32_t size; /* of the whole record */
    uint32_t kind;
} mw_ring_head;

enum { MW_RING_SKIP = 0 };

static inline uint64_t mw_ring_size_of(uint64_t bytes) { return sizeof(mw_ring) + bytes; }

/* Room for a record of that size, a multiple of 8; NULL where there is none. Nothing is written until mw_ring_commit. */
static inline uint8_t *mw_ring_reserve(mw_ring *r, uint64_t size) {
    const uint64_t read = __atomic_load_n(&r->read, __ATOMIC_ACQUIRE), written = r->written;
    const uint64_t at = written % r->size, rest = r->size - at, skip = rest < size ? rest : 0;
    if (size > r->size || written - read > r->size || size + skip > r->size - (written - read)) return NULL;
    if (!skip) return r->data + at;
    const mw_ring_head head = {(uint32_t)skip, MW_RING_SKIP};
    memcpy(r->data + at, &head, sizeof head);
    return r->data;
}

/* The record at `at`, of that size, is whole. */
static inline void mw_ring_commit(mw_ring *r, const uint8_t *at, uint64_t size) {
    const uint64_t end = r->written % r->size, begin = (uint64_t)(at - r->data);
    const uint64_t skip = begin == end ? 0 : r->size - end;
    __atomic_store_n(&r->written, r->written + skip + size, __ATOMIC_RELEASE);
}

/* The record at *position, which moves past it; NULL where there is none before `end` (a reading of `written`), or where what
 * is there is no record: then *position is `end`. *size: the bytes that may be read, whatever the record says later. */
static inline const uint8_t *mw_ring_next(const mw_ring *r, uint64_t size_of_ring, uint64_t end, uint64_t *position,
                                          uint32_t *size) {
    while (*position != end) {
        const uint64_t left = end - *position, at = *position % size_of_ring;
        const uint64_t whole = left < size_of_ring - at ? left : size_of_ring - at;
        mw_ring_head head;
        if (left > size_of_ring || whole < sizeof head) break;
        memcpy(&head, r->data + at, sizeof head);
        if (head.size < sizeof head || head.size % 8 || head.size > whole) break;
        *position += head.size;
        *size = head.size;
        if (head.kind != MW_RING_SKIP) return r->data + at;
    }
    *position = end;
    return NULL;
}

#endif
