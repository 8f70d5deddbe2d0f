/* Which peers of a network have budgets of their own, where trusted proxies tell who calls: the first few of it.
 *
 * A client that has an IPv6 network could otherwise name another address of it with each request, and have a budget for each. A
 * member keeps its slot for a minute after its last request. A limit gives back its burst within a minute, so the next one to take
 * the slot gains nothing. A network is forgotten a minute after its last request. Where a bucket is full, all members of a network
 * share one budget. The table has a fixed size; each process has its own. Networks and members are keyed hashes. A request looks
 * at 8 networks and at `most` members of one.
 * No I/O, no clock. */
#ifndef MODELWARD_SITES_H
#define MODELWARD_SITES_H

#include <stdint.h>

enum {
    MW_SITE_WAYS = 8,
    MW_SITE_BUCKETS = 1024, /* 2 MiB with 16 members; what is not touched of it costs nothing */
};

typedef struct {
    uint64_t hash; /* 0: vacant */
    int64_t used;  /* ns; by its last request */
} mw_site_slot;

typedef struct {
    uint32_t most; /* members that a network may have */
    mw_site_slot network[MW_SITE_BUCKETS][MW_SITE_WAYS];
    mw_site_slot members[]; /* `most` for each network */
} mw_sites;

/* NULL: no memory. To be freed by `free`. */
mw_sites *mw_sites_new(uint32_t most);
/* Whether `member` has one of the first `most` slots of `network`; it keeps that for a minute from now on. */
int mw_sites_enter(mw_sites *sites, uint64_t network, uint64_t member, uint32_t most, int64_t now);

#endif
