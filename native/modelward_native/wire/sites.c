#include "sites.h"

#include <stdlib.h>
#include <string.h>

static const int64_t KEPT_NS = 60 * (int64_t)1000000000;

/* The slot of `hash`, or one that it may take; NULL: there is none. */
static mw_site_slot *slot_of(mw_site_slot *slots, uint32_t count, uint64_t hash, int64_t now) {
    mw_site_slot *found = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (slots[i].hash == hash) return &slots[i];
        if (found == NULL && (slots[i].hash == 0 || now - slots[i].used > KEPT_NS)) found = &slots[i];
    }
    return found;
}

mw_sites *mw_sites_new(uint32_t most) {
    size_t members = (size_t)MW_SITE_BUCKETS * MW_SITE_WAYS * most;
    mw_sites *sites = calloc(1, sizeof *sites + members * sizeof(mw_site_slot));
    if (sites != NULL) sites->most = most;
    return sites;
}

int mw_sites_enter(mw_sites *sites, uint64_t network, uint64_t member, uint32_t most, int64_t now) {
    network |= 1; /* 0 is a vacant slot; other bits choose the bucket */
    member |= 1;
    if (most > sites->most) most = sites->most;
    size_t bucket = (network >> 32) % MW_SITE_BUCKETS;
    mw_site_slot *site = slot_of(sites->network[bucket], MW_SITE_WAYS, network, now);
    if (site == NULL) return 0;
    mw_site_slot *members =
        sites->members + (bucket * MW_SITE_WAYS + (size_t)(site - sites->network[bucket])) * sites->most;
    if (site->hash != network) {
        site->hash = network;
        memset(members, 0, sites->most * sizeof *members);
    }
    site->used = now;
    mw_site_slot *slot = slot_of(members, most, member, now);
    if (slot == NULL) return 0;
    slot->hash = member;
    slot->used = now;
    return 1;
}
