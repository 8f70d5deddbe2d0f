"""Proxies whose word on a caller's address counts."""

import ipaddress
from typing import Annotated

from modelward.config.fields import AfterValidator, Field
from modelward.config.units import UnitError

UNIX = "unix:"
HOW = "Write networks (10.0.0.0/8, fd00::/8), addresses, or unix: for every client of the Unix socket"
MAPPED_BITS = 96


def _checked(proxies: tuple[str, ...]) -> tuple[str, ...]:
    for text in proxies:
        if text == UNIX:
            continue
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise UnitError(f"{text!r} is no network: {error}", HOW) from None
    return proxies


TrustedProxies = Annotated[tuple[str, ...], AfterValidator(_checked), Field(strict=False, max_length=256)]


def networks(proxies: tuple[str, ...]) -> list[tuple[bytes, int]]:
    """Address and bits of each network as the data plane compares them: 16 bytes, IPv4 as ::ffff:a.b.c.d."""
    found = []
    for text in proxies:
        if text == UNIX:
            continue
        network = ipaddress.ip_network(text)
        if network.version == 4:
            mapped = ipaddress.IPv6Address(f"::ffff:{network.network_address}")
            found.append((mapped.packed, network.prefixlen + MAPPED_BITS))
        else:
            found.append((network.network_address.packed, network.prefixlen))
    return found
