"""Keeps a pool's endpoints: connected, checked, and as many as their names resolve to."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from native.h2 import Listener
from native.pool import Pool
from proxy.config.schema import Health
from proxy.config.upstream import resolve
from proxy.route.connector import Connector
from proxy.route.group import Group, Member
from proxy.route.health import HealthCheck

log = logging.getLogger("modelward.upstream")

RESOLVE_SECONDS = 30.0
# For a name that could not be resolved yet: nothing can be sent until it is.
FIRST_RESOLVE_SECONDS = 1.0
DRAIN_SECONDS = 30.0
DRAIN_POLL_SECONDS = 0.1


@dataclass
class _Kept:
    connector: Connector
    check: HealthCheck

    def close(self) -> None:
        self.check.close()
        self.connector.close()


class Keeper:
    """Owns the tasks of one pool's endpoints; `close` ends them all."""

    def __init__(self, listener: Listener, pool: Pool, groups: tuple[Group, ...], health: Health) -> None:
        self._listener = listener
        self._pool = pool
        self._groups = groups
        self._health = health
        self._kept: dict[Member, _Kept] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._resolved: list[asyncio.Event] = []
        for group in groups:
            for member in group.members:
                self._keep(member)
            if group.address.is_many:
                self._resolved.append(asyncio.Event())
                self._spawn(self._keep_resolved(group, self._resolved[-1]))
        self._show()

    async def tried(self) -> None:
        """Returns when every endpoint is connected or cannot be at the moment; those are tried until `close`."""
        for resolved in self._resolved:
            await resolved.wait()
        await asyncio.gather(*(kept.connector.tried.wait() for kept in self._kept.values()))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for kept in self._kept.values():
            kept.close()

    def _keep(self, member: Member) -> None:
        connector = Connector(self._listener, member.address, member.endpoint)
        self._kept[member] = _Kept(connector, HealthCheck(member.address, member.endpoint, self._health))

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _show(self) -> None:
        """Requests go to the members of this moment."""
        self._pool.replace([member.endpoint for group in self._groups for member in group.members])

    async def _keep_resolved(self, group: Group, resolved: asyncio.Event) -> None:
        said = False
        while True:
            try:
                self._follow(group, await resolve(group.address))
                said = False
                resolved.set()
            except OSError as error:  # the endpoints stay as they are
                if not said:
                    log.warning("upstream %s: its name cannot be resolved: %s; trying on", group.address.text, error)
                said = True
            await asyncio.sleep(RESOLVE_SECONDS if group.members else FIRST_RESOLVE_SECONDS)

    def _follow(self, group: Group, found: list[str]) -> None:
        """Endpoints come and go with the addresses of the name."""
        new, left = group.resolved(found)
        for member in new:
            self._keep(member)
        for member in left:
            self._spawn(self._retire(group, member))
        if new or left:
            log.info("upstream %s is %s", group.address.text, ", ".join(found))
            self._show()

    async def _retire(self, group: Group, member: Member) -> None:
        """Requests under way may finish."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while member.endpoint.inflight:
                    await asyncio.sleep(DRAIN_POLL_SECONDS)
        self._kept.pop(member).close()
        group.forget(member)
