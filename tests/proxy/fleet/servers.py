"""Servers of one fleet in one process, and what they do round by round."""

from __future__ import annotations

from pathlib import Path

from modelward.config.fleet import Fleet
from modelward.fleet.member import Member
from modelward.fleet.record import Malformed
from modelward.promotion.asked import Wanted
from modelward.promotion.promoter import Promoter
from tests.proxy.fleet.memory_store import MemoryStore
from tests.proxy.promotion.served import Served


class One:
    """A server, its promotions and its part of the fleet. cut: it has no store."""

    def __init__(self, store: MemoryStore, folder: Path, name: str, **settings: object) -> None:
        self.served = Served(**settings)
        self.promoter = Promoter(self.served, folder / name, lambda: self.served.now)
        self._store, self._none = store, MemoryStore()
        self._none.down = True
        self.member = Member(Fleet(url="redis://memory", replica=name), store, self.promoter)
        self.promoter.fleet = self.member

    async def begin(self) -> One:
        self.promoter.load()
        await self.member.start()
        self.promoter.resume()
        self.member.serves = True
        await self.served.share(self.promoter.shares)
        return self

    def cut(self, *, off: bool) -> None:
        self.member.store = self._none if off else self._store

    @property
    def share(self) -> int:
        """Of version 3, in per cent."""
        return self.served.shared.get("m", {}).get("3", 0) // 100


async def three(store: MemoryStore, folder: Path, **settings: object) -> list[One]:
    servers = [await One(store, folder, name, **settings).begin() for name in "abc"]
    await rounds(*servers)
    return servers


async def rounds(*servers: One, count: int = 1, looks: bool = False) -> None:
    """Each speaks with the store, one after the other, and looks at its promotions."""
    for _ in range(count):
        for each in servers:
            await each.member.start()
            await each.member.gathering.settled()
        for each in servers if looks else ():
            await each.promoter.look()
    for each in servers if looks else ():
        await each.member.start()


def wanted(*steps: int, **more: object) -> Wanted:
    return Wanted("m", "3", steps or None, **more)  # type: ignore[arg-type]


class Words:
    """A part of what is shared: the longer words count. looks: how often it was asked to look."""

    name = "words"

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.looks = 0

    def look(self) -> None:
        self.looks += 1

    async def reconcile(self, data: bytes | None) -> bytes | None:
        if data == b"{":
            raise Malformed("it is open")
        self.said = max(self.said, data or b"", key=len)
        return self.said if self.said != data else None
