#include "forwarded.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static int is_port(const uint8_t *text, size_t size) {
    if (size < 2 || size > 6 || text[0] != ':') return 0;
    for (size_t i = 1; i < size; i++)
        if (text[i] < '0' || text[i] > '9') return 0;
    return 1;
}

int mw_address_read(const uint8_t *text, size_t size, uint8_t address[16]) {
    char copy[INET6_ADDRSTRLEN];
    const uint8_t *end, *first = memchr(text, ':', size);
    size_t host = size;
    if (size == 0) return 0;
    if (text[0] == '[') {
        end = memchr(text, ']', size);
        if (!end) return 0;
        host = (size_t)(end - text) + 1;
        if (host < size && !is_port(text + host, size - host)) return 0;
        text++;
        host -= 2;
    } else if (first && !memchr(first + 1, ':', size - (size_t)(first + 1 - text))) {
        host = (size_t)(first - text); /* one colon: IPv4 and a port */
        if (!is_port(first, size - host)) return 0;
    }
    if (host == 0 || host >= sizeof copy || memchr(text, 0, host)) return 0;
    memcpy(copy, text, host);
    copy[host] = 0;
    if (inet_pton(AF_INET, copy, address + 12) == 1) {
        memcpy(address, MAPPED, 12);
        return 1;
    }
    return inet_pton(AF_INET6, copy, address) == 1;
}

size_t mw_address_budget(const uint8_t address[16], unsigned bits, uint8_t key[16]) {
    static const uint8_t NAT64[12] = {0, 0x64, 0xff, 0x9b};
    size_t whole = bits / 8, rest = bits % 8;
    if (memcmp(address, MAPPED, 12) == 0 || memcmp(address, NAT64, 12) == 0) {
        memcpy(key, address + 12, 4);
        return 4;
    }
    if (address[0] == 0x20 && address[1] == 0x02) {
        memcpy(key, address + 2, 4);
        return 4;
    }
    memcpy(key, address, 16);
    if (rest) {
        key[whole] &= (uint8_t)(0xff << (8 - rest));
        whole++;
    }
    return whole;
}

int mw_address_within(const uint8_t address[16], const mw_network *networks, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t whole = networks[i].bits / 8, rest = networks[i].bits % 8;
        if (memcmp(address, networks[i].address, whole) != 0) continue;
        if (rest == 0 || ((address[whole] ^ networks[i].address[whole]) >> (8 - rest)) == 0) return 1;
    }
    return 0;
}

int mw_forwarded_peer(const uint8_t *value, size_t size, const mw_network *trusted, size_t count, uint8_t address[16]) {
    size_t end = size, begin;
    for (int hop = 0; end > 0; hop++) {
        if (hop == MW_FORWARDED_HOPS) return -1;
        begin = end;
        while (begin > 0 && value[begin - 1] != ',') begin--;
        size_t from = begin, to = end;
        while (from < to && (value[from] == ' ' || value[from] == '\t')) from++;
        while (to > from && (value[to - 1] == ' ' || value[to - 1] == '\t')) to--;
        if (to > from) {
            if (!mw_address_read(value + from, to - from, address)) return -1;
            if (!mw_address_within(address, trusted, count)) return 1;
        }
        if (begin == 0) break;
        end = begin - 1;
    }
    return 0;
}
