/* libFuzzer harness of x-forwarded-for and of the table of IPv6 networks (modelward_native/wire/forwarded.c, sites.c); README.md says
 * how to run it.
 *
 * An input is up to three networks of trusted proxies, and steps: a header's value, a request of one of a few networks, or time
 * that passes. Values lie in allocations of exactly their size. Beyond memory errors it checks what budgets rely on: nothing
 * that stands left of an address changes whose request it is, no trusted proxy pays, the rest of an address does not change its
 * budget, and a network never has more members within a minute than it may. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "forwarded.h"
#include "sites.h"

#define REQUIRE(condition)                  \
    do {                                    \
        if (!(condition)) __builtin_trap(); \
    } while (0)

enum { TRUSTED = 3, NETWORKS = 32, MEMBERS = 32, MOST = 4 };
static const int64_t SECOND = 1000000000;

static mw_network trusted[TRUSTED];
static size_t trusted_count;
static unsigned bits;
static mw_sites *sites;
static int64_t now;
static int64_t let_in[NETWORKS][MEMBERS]; /* when; 0: never */

static uint64_t hash_of(const uint8_t *key, size_t size) {
    uint64_t hash = 14695981039346656037u + size; /* FNV-1a */
    for (size_t i = 0; i < size; i++) hash = (hash ^ key[i]) * 1099511628211u;
    return hash;
}

static int told(const char *before, const uint8_t *value, size_t size, uint8_t address[16]) {
    size_t more = strlen(before);
    uint8_t *copy = malloc(more + size);
    if (more) memcpy(copy, before, more);
    if (size) memcpy(copy + more, value, size);
    int found = mw_forwarded_peer(copy, more + size, trusted, trusted_count, address);
    free(copy);
    return found;
}

/* A budget is of a network: what an address says beyond it makes no difference, and what it says within it does. */
static void check_budget(const uint8_t address[16]) {
    uint8_t key[16] = {0}, other[16], changed[16];
    size_t size = mw_address_budget(address, bits, key);
    REQUIRE(size == 4 || (size == (bits + 7) / 8 && memcmp(key, address, bits / 8) == 0));
    for (unsigned bit = 0; size > 4 && bit < 128; bit++) {
        memcpy(changed, address, 16);
        changed[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        size_t changed_size = mw_address_budget(changed, bits, other);
        if (changed_size == 4) continue; /* it holds an IPv4 address now */
        REQUIRE((memcmp(key, other, size) == 0) == (bit >= bits));
    }
    if (size > 7) mw_sites_enter(sites, hash_of(key, 7), hash_of(key, size), MOST, now);
    if (size > 6) mw_sites_enter(sites, hash_of(key, 6), hash_of(key, size), MOST, now);
}

static void check_header(const uint8_t *value, size_t size) {
    uint8_t address[16], again[16];
    char text[INET6_ADDRSTRLEN];
    int found = told("", value, size, address);
    REQUIRE(found >= -1 && found <= 1);
    if (found != 0) {
        int prefixed = told("192.0.2.77, ", value, size, again);
        REQUIRE(prefixed == found && (found < 0 || memcmp(address, again, 16) == 0));
    }
    if (found == 1) {
        REQUIRE(!mw_address_within(address, trusted, trusted_count));
        REQUIRE(inet_ntop(AF_INET6, address, text, sizeof text) != NULL);
        REQUIRE(mw_address_read((const uint8_t *)text, strlen(text), again) && memcmp(address, again, 16) == 0);
        check_budget(address);
    }
    uint8_t *copy = malloc(size);
    if (size) memcpy(copy, value, size);
    if (mw_address_read(copy, size, address)) check_budget(address);
    free(copy);
}

/* A few networks share a bucket: it has fewer places than there are of them. */
static void check_request(unsigned network, unsigned member) {
    uint64_t hash = 5 + ((uint64_t)network * MW_SITE_BUCKETS << 32);
    int64_t *times = let_in[network];
    int had = times[member] && now - times[member] <= 60 * SECOND;
    int has = mw_sites_enter(sites, hash, 2 * (uint64_t)member + 2, MOST, now);
    REQUIRE(has || !had);
    if (has) times[member] = now;
    int live = 0, networks = 0;
    for (int n = 0; n < NETWORKS; n++) {
        int of_this = 0;
        for (int m = 0; m < MEMBERS; m++) of_this += let_in[n][m] && now - let_in[n][m] <= 60 * SECOND;
        networks += of_this > 0;
        if (n == (int)network) live = of_this;
    }
    REQUIRE(live <= MOST && networks <= MW_SITE_WAYS);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size) {
    if (size < 2) return 0;
    trusted_count = in[0] % (TRUSTED + 1);
    bits = 48 + in[1] % 81;
    size_t at = 2;
    if (size < at + 17 * trusted_count) return 0;
    for (size_t i = 0; i < trusted_count; i++, at += 17) {
        memcpy(trusted[i].address, in + at, 16);
        trusted[i].bits = in[at + 16] % 129;
    }
    memset(let_in, 0, sizeof let_in);
    now = 1000 * SECOND;
    sites = mw_sites_new(MOST);
    REQUIRE(sites != NULL);
    while (at + 2 <= size) {
        uint8_t what = in[at], which = in[at + 1];
        at += 2;
        switch (what % 4) {
            case 0: {
                size_t n = (size_t)which * (what & 4 ? 8 : 1);
                if (n > size - at) n = size - at;
                check_header(in + at, n);
                at += n;
                break;
            }
            case 1: now += what & 4 ? 60 * SECOND + (which & 1) : which * SECOND; break;
            default: check_request(what / 4 % NETWORKS, which % MEMBERS);
        }
    }
    free(sites);
    return 0;
}
