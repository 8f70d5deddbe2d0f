"""Keeps the endpoints behind one configured address: connected, checked, and as many as its name resolves to."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

from msgspec import Struct

from modelward.config.health import Health
from modelward.config.upstream import resolve
from modelward.tasks import Tasks
from modelward.upstream.connector import Connector
from modelward.upstream.group import Group, Member
from modelward.upstream.health import HealthCheck
from modelward_native.wire.listener import Listener

log = logging.getLogger("modelward.upstream")

RESOLVE_SECONDS = 30.0
# For a name that could not be resolved yet: nothing can be sent until it is.
FIRST_RESOLVE_SECONDS = 1.0
DRAIN_SECONDS = 30.0
DRAIN_POLL_SECONDS = 0.1


class _Kept(Struct):
    connector: Connector
    check: HealthCheck

    def close(self) -> None:
        self.check.close()
        self.connector.close()


class EndpointManager:
    """Owns the tasks of one group's endpoints; `close` ends them all, `retire` when nothing is under way on them.

    changed: called when other endpoints than before are behind the address.
    """

    def __init__(self, listener: Listener, group: Group, health: Health, changed: Callable[[], None]) -> None:
        self._listener = listener
        self._group = group
        self._health = health
        self._changed = changed
        self._kept: dict[Member, _Kept] = {}
        self._tasks = Tasks()
        self._resolved = asyncio.Event()
        for member in group.members:
            self._keep(member)
        if group.address.is_many:
            self._resolving = self._tasks.spawn(self._keep_resolved())
        else:
            self._resolved.set()

    async def tried(self) -> None:
        """Returns when every endpoint is connected or cannot be at the moment; those are tried until `close`."""
        await self._resolved.wait()
        await asyncio.gather(*(kept.connector.tried.wait() for kept in self._kept.values()))

    def check_by(self, health: Health) -> None:
        """Checks from now on by these settings."""
        if health == self._health:
            return
        self._health = health
        for member, kept in self._kept.items():
            kept.check.close()
            kept.check = HealthCheck(member.address, member.endpoint, health)

    async def retire(self) -> None:
        """Requests under way may finish; then as `close`."""
        if self._group.address.is_many:
            self._resolving.cancel()
        try:
            await _unused(self._kept)
        finally:
            self.close()

    def close(self) -> None:
        self._tasks.cancel()
        for kept in self._kept.values():
            kept.close()

    def _keep(self, member: Member) -> None:
        connector = Connector(self._listener, member.address, member.endpoint)
        self._kept[member] = _Kept(connector, HealthCheck(member.address, member.endpoint, self._health))

    async def _keep_resolved(self) -> None:
        said = False
        group = self._group
        while True:
            try:
                self._follow(await resolve(group.address))
                said = False
                self._resolved.set()
            except OSError as error:  # the endpoints stay as they are
                if not said:
                    log.warning("upstream %s: its name cannot be resolved: %s; trying on", group.address.text, error)
                said = True
            await asyncio.sleep(RESOLVE_SECONDS if group.members else FIRST_RESOLVE_SECONDS)

    def _follow(self, found: list[str]) -> None:
        """Endpoints come and go with the addresses of the name."""
        new, left = self._group.resolved(found)
        for member in new:
            self._keep(member)
        for member in left:
            self._tasks.spawn(self._retire(member))
        if new or left:
            log.info("upstream %s is %s", self._group.address.text, ", ".join(found))
            self._changed()

    async def _retire(self, member: Member) -> None:
        """Requests under way may finish."""
        await _unused([member])
        self._kept.pop(member).close()
        self._group.forget(member)


async def _unused(members: Iterable[Member]) -> None:
    """Returns when nothing is under way on them, or has been for too long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while any(member.endpoint.inflight for member in members):
                await asyncio.sleep(DRAIN_POLL_SECONDS)
