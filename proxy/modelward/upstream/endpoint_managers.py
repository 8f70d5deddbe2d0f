"""The endpoints of all pools: those of one configuration after another."""

import asyncio
import contextlib
from collections.abc import Sequence

from modelward.config.health import Breaker, Health
from modelward.tasks import Tasks
from modelward.upstream.connector import CONNECT_SECONDS
from modelward.upstream.endpoint_manager import EndpointManager
from modelward.upstream.group import Group
from modelward.upstream.overridden import Overridden
from modelward.upstream.upstream_pool import UpstreamPool
from modelward_native.wire.listener import Listener

SHADOW_SECONDS = 0.5


class EndpointManagers:
    """Owns a manager for every configured address of every pool. Touched on the loop's thread alone."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._pools: list[UpstreamPool] = []
        self._overridden: Sequence[Overridden] = ()
        self._managers: dict[Group, EndpointManager] = {}
        self._retiring = Tasks()

    async def connect(self, pools: list[UpstreamPool], health: Health) -> None:
        """Keeps the endpoints of these pools too; returns when each is connected, or cannot be yet and is tried on.

        Shadows' are waited for much less long: no client waits for their answers either.
        """
        for group in _groups(pools):
            if group not in self._managers:
                self._managers[group] = EndpointManager(self._listener, group, health, self._show)
        for shadows, seconds in ((False, CONNECT_SECONDS), (True, SHADOW_SECONDS)):
            groups = _groups([pool for pool in pools if pool.shadow is shadows])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.gather(*(self._managers[group].tried() for group in groups))

    def follow(
        self, pools: list[UpstreamPool], health: Health, breaker: Breaker, overridden: Sequence[Overridden] = ()
    ) -> None:
        """Requests go to these pools from now on; endpoints that are in none of them finish what they have.

        overridden: what operators have decided of single models' endpoints."""
        self._pools, self._overridden = pools, overridden
        wanted = _groups(pools)
        for group in [group for group in self._managers if group not in wanted]:
            self._retiring.spawn(self._managers.pop(group).retire())
        for manager in self._managers.values():
            manager.check_by(health)
        for group in wanted:
            group.judge_by(breaker)
        for pool in pools:
            for group in pool.groups:
                group.has_canary = pool.has_canary
            pool.pool.hedge_share = pool.share
            pool.pool.resends = pool.resends
        self._show()

    def close(self) -> None:
        self._retiring.cancel()
        for manager in self._managers.values():
            manager.close()

    def _show(self) -> None:
        for pool in self._pools:
            pool.pool.replace([member.endpoint for group in pool.groups for member in group.members])
            pool.pool.override({each.model: each.held() for each in self._overridden if each.pool is pool})


def _groups(pools: list[UpstreamPool]) -> dict[Group, None]:
    return dict.fromkeys(group for pool in pools for group in pool.groups)
