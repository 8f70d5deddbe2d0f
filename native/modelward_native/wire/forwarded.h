/* Whom a request comes from, where trusted proxies say so: the right-most address of x-forwarded-for that is not theirs.
 *
 * Every proxy appends the address it was called from, so that what stands left of the first stranger is that stranger's
 * own tale. Something that is no address ends the search: nothing left of it can be believed. */
#ifndef MODELWARD_FORWARDED_H
#define MODELWARD_FORWARDED_H

#include <stddef.h>
#include <stdint.h>

enum { MW_FORWARDED_HOPS = 32 }; /* of one header that are looked at */

typedef struct {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t bits;        /* of the network; 96 more than an IPv4 network says itself */
} mw_network;

/* An address as text, with a port or without ("1.2.3.4:5", "[::1]:5", "::1"). 0 where it is none. */
int mw_address_read(const uint8_t *text, size_t size, uint8_t address[16]);
/* The bytes that the budgets of an address go by, of which there are as many as it returns: the 4 of an IPv4 address, also of
 * one that NAT64 (RFC 6052, the well-known prefix) or 6to4 (RFC 3056) has put into an IPv6 address; else the network's, with
 * 48 to 128 bits. */
size_t mw_address_budget(const uint8_t address[16], unsigned bits, uint8_t key[16]);
int mw_address_within(const uint8_t address[16], const mw_network *networks, size_t count);
/* One header. 1: *address is the peer's; 0: all are trusted proxies; -1: something else came before an untrusted one. */
int mw_forwarded_peer(const uint8_t *value, size_t size, const mw_network *trusted, size_t count, uint8_t address[16]);

#endif
