"""What operators decide of identities: a step at which one is held for a time, whatever its evidence says."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import get_args

from msgspec import Struct

from modelward.config.access import SOURCES
from modelward.config.detection import Step

ALL = ""  # in the place of a model: every model that watches identities
STEPS: tuple[Step, ...] = get_args(Step)
KINDS = {"jwt": "token"}
"""What operators call what proves a name, where the configuration has another word."""
ADDRESS = "address"
_MAPPED = ipaddress.ip_network("::ffff:0:0/96")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_TO4 = ipaddress.ip_network("2002::/16")


class Known(Struct, frozen=True):
    """Whose record it is. kind: certificate, token or key; address or behind proxy for callers without an identity."""

    kind: str
    name: str
    model: str


class Restriction(Struct, frozen=True):
    """identity: a name, by whatever proves it, or the address of callers without one. until: seconds since 1970. by:
    who has set it. above: whether that operator may restrict for all models: what is said of one model counts before
    what is said of all."""

    identity: str
    model: str
    step: Step
    until: float
    by: str = ""
    reason: str = ""
    above: bool = True

    @property
    def where(self) -> str:
        return where(self.identity, self.model)


def is_network(name: str) -> bool:
    """Of addresses, as 10.0.0.0/8: it is no caller's."""
    try:
        return "/" in name and bool(ipaddress.ip_interface(name))
    except ValueError:
        return False


def ruling(of_all: Restriction | None, of_one: Restriction) -> Restriction:
    """Which of two counts for one model: the stronger where an operator of some models has set that of the one."""
    if of_all is None or of_one.above or STEPS.index(of_one.step) >= STEPS.index(of_all.step):
        return of_one
    return of_all


def where(identity: str, model: str) -> str:
    return f"identity {identity}, {f'model {model}' if model != ALL else 'all models'}"


def callers_of(identity: str, prefix: int) -> Iterator[tuple[str, bytes]]:
    """Kinds of callers that it may be, and the texts under which the data plane knows them:
    modelward_native.access.identities, wire/forwarded.c.

    prefix: bits of an IPv6 address that are one peer.
    """
    try:
        address = ipaddress.ip_address(identity)
    except ValueError:
        yield from ((KINDS.get(source, source), f"{source} identity {identity}".encode()) for source in SOURCES)
        return
    if address.version == 4:
        yield ADDRESS, address.packed
    elif address in _MAPPED or address in _NAT64:
        yield ADDRESS, address.packed[12:]
    elif address in _TO4:
        yield ADDRESS, address.packed[2:6]
    else:
        network = ipaddress.ip_network((address, prefix), strict=False)
        yield ADDRESS, network.network_address.packed[: (prefix + 7) // 8]
