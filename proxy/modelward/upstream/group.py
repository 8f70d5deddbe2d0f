"""One configured address of a pool, and the endpoints behind it."""

from collections.abc import Iterable
from dataclasses import replace

from msgspec import Struct

from modelward.config.health import Breaker
from modelward.config.upstream import UpstreamAddress
from modelward.telemetry import native_snapshot
from modelward.telemetry.merge import added, counters
from modelward.telemetry.snapshot import EndpointSnapshot
from modelward_native.backend.breaker import Policy
from modelward_native.backend.pool import Endpoint


class Member(Struct, frozen=True, eq=False):
    """One endpoint. address: with the IP address that it stands for, where the name has several."""

    address: UpstreamAddress
    endpoint: Endpoint


class Group:
    """One endpoint, or behind dns:///name:port one for every address that the name resolves to: none at first."""

    def __init__(self, address: UpstreamAddress, has_canary: bool = False) -> None:
        self.address = address
        self._breaker = Breaker()
        self._has_canary = has_canary
        self._members: dict[str, Member] = {}
        # counters never fall: what endpoints have counted that are gone
        self._gone = EndpointSnapshot()
        self._leaving: list[Member] = []
        if not address.is_many:
            self._members[""] = self._member(address)

    @property
    def members(self) -> list[Member]:
        """Those that requests may be sent to."""
        return list(self._members.values())

    @property
    def has_canary(self) -> bool:
        """Whether the server of each connection has to pass a canary before it gets requests. One that is connected
        already gets them until it is judged."""
        return self._has_canary

    @has_canary.setter
    def has_canary(self, has_canary: bool) -> None:
        if has_canary == self._has_canary:
            return
        self._has_canary = has_canary
        for member in self._members.values():
            _judged_by_canary(member.endpoint, has_canary)

    def resolved(self, found: Iterable[str]) -> tuple[list[Member], list[Member]]:
        """Takes over what the name resolves to now: (new members, members that are no longer behind it)."""
        wanted = dict.fromkeys(found)
        left = [self._members.pop(ip) for ip in list(self._members) if ip not in wanted]
        new = {ip: self._member(replace(self.address, ip=ip)) for ip in wanted if ip not in self._members}
        self._members |= new
        self._leaving += left
        return list(new.values()), left

    def forget(self, member: Member) -> None:
        """Nothing is under way any more on a member that has left."""
        self._leaving.remove(member)
        self._gone = added(self._gone, counters(native_snapshot.endpoint(member.endpoint)))

    def snapshot(self) -> EndpointSnapshot:
        """All endpoints that are or ever were behind the address, as one."""
        total = self._gone
        for member in [*self._members.values(), *self._leaving]:
            total = added(total, native_snapshot.endpoint(member.endpoint))
        return total

    def judge_by(self, breaker: Breaker) -> None:
        """What takes an endpoint out from now on; those that are out stay so for as long as they were told."""
        if breaker == self._breaker:
            return
        self._breaker = breaker
        for member in [*self._members.values(), *self._leaving]:
            member.endpoint.policy = _policy(breaker)

    def _member(self, address: UpstreamAddress) -> Member:
        endpoint = Endpoint(address.text, address.authority, _policy(self._breaker), address.shows_certificate)
        _judged_by_canary(endpoint, self._has_canary)
        return Member(address, endpoint)


def _judged_by_canary(endpoint: Endpoint, has_canary: bool) -> None:
    endpoint.has_canary = has_canary
    if not has_canary:
        endpoint.passes_canary, endpoint.fails_canary = True, False


def _policy(breaker: Breaker) -> Policy:
    return Policy(
        breaker.consecutive_failures,
        breaker.success_rate,
        breaker.min_requests,
        breaker.window,
        breaker.ejection,
        breaker.max_ejection,
        breaker.max_inflight,
    )
