/* Which peers of a network have budgets of their own, where trusted proxies tell who calls: the first few of it.
 *
 * One who has an IPv6 network could otherwise name an address of another part of it with each request and have a budget for
 * each. A member keeps its place for a minute after its last request: by then what it owed is paid, and the one that takes the
 * place gains nothing, where a limit gives back its burst within a minute. A network is forgotten a minute after its last request,
 * too; where its bucket has no room, all of the network share one budget. The table has a fixed size, and each process one of its
 * own. Networks and members are keyed hashes. A request costs two looks, each at 8 networks and their `most` members at most.
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
} mw_site_place;

typedef struct {
    uint32_t most; /* members that a network may have */
    mw_site_place network[MW_SITE_BUCKETS][MW_SITE_WAYS];
    mw_site_place members[]; /* `most` for each network */
} mw_sites;

/* NULL: no memory. To be freed by `free`. */
mw_sites *mw_sites_new(uint32_t most);
/* Whether `member` has one of the first `most` places of `network`; it has it for a minute from now on. */
int mw_sites_enter(mw_sites *sites, uint64_t network, uint64_t member, uint32_t most, int64_t now);

#endif
