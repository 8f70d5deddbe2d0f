"""A store of a fleet in memory, with a clock of its own: what every store does, and what tests of servers use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from modelward.fleet.store import (
    KEPT_SECONDS,
    LEASE_SECONDS,
    MOST_COUNTED,
    MOST_REPLICAS,
    MOST_TOLD,
    Document,
    Seen,
    StoreError,
    Told,
)


class MemoryStore:
    """down: no call is answered. now: seconds."""

    where = "memory"

    def __init__(self) -> None:
        self.now = 0.0
        self.down = False
        self.documents: dict[str, Document] = {}
        self._revision = 0
        self._leader, self._until = "", 0.0
        self._said: dict[str, tuple[float, bytes, bytes]] = {}

    def lose(self) -> None:
        """All that it holds."""
        self.documents, self._said, self._leader = {}, {}, ""
        self._revision += 1000

    def lead_for_ever(self, identity: str) -> None:
        self._leader, self._until = identity, inf

    def changed(self) -> None:
        """Somebody else has written into it."""
        self._revision += 1

    async def exchange(
        self,
        replica: str,
        *,
        identity: str,
        note: bytes,
        evidence: bytes,
        revision: str,
        may_lead: bool,
        names: Sequence[str] = (),
    ) -> Seen:
        self._check()
        said = self._said.get(replica, (0.0, b"", b""))[1]
        if replica in self._said or len(self._said) < MOST_REPLICAS:
            self._said[replica] = self.now, note, evidence
        free = not self._leader or self._until <= self.now
        endless = not free and self._until > self.now + LEASE_SECONDS
        if endless:
            self._until = self.now + LEASE_SECONDS
        if may_lead and (free or self._leader == identity):
            self._leader, self._until = identity, self.now + LEASE_SECONDS
        elif self._leader == identity:
            self._leader = ""
        leader = self._leader if self._until > self.now else ""
        documents = None if revision == str(self._revision) else self._documents(names)
        return Seen(str(self._revision), leader, documents, said, endless)

    def _documents(self, names: Sequence[str]) -> dict[str, Document]:
        told: dict[str, Document] = {}
        size = 0
        for name, each in sorted(self.documents.items(), key=lambda pair: pair[0] not in names):
            if size <= MOST_TOLD or name in names:
                told[name] = each if size <= MOST_TOLD else Document(each.epoch, b"")
                size += len(told[name].data)
        return told

    async def swap(self, name: str, before: int, epoch: int, data: bytes) -> Document | None:
        self._check()
        there = self.documents.get(name)
        if (there.epoch if there is not None else 0) != before:
            return there or Document(0, b"")
        self.documents[name] = Document(epoch, data)
        self._revision += 1
        return None

    async def notes(self) -> Mapping[str, Told]:
        return self._told(1)

    async def evidence(self) -> Mapping[str, Told]:
        return {replica: told for replica, told in self._told(2).items() if told.data}

    async def leave(self, replica: str, identity: str) -> None:
        self._check()
        self._said.pop(replica, None)
        if self._leader == identity:
            self._leader = ""

    async def close(self) -> None:
        return

    def _told(self, of: int) -> dict[str, Told]:
        self._check()
        fresh = {name: said for name, said in self._said.items() if self.now - said[0] <= KEPT_SECONDS}
        told, size = {}, 0
        for name, said in fresh.items():
            if size + len((b"", said[1], said[2])[of]) <= MOST_COUNTED:
                told[name] = Told(self.now - said[0], (b"", said[1], said[2])[of])
                size += len(told[name].data)
        return told

    def _check(self) -> None:
        if self.down:
            raise StoreError("it is down")
