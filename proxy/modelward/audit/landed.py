"""Records that got into a log although it could not confirm them: given again, they are not written twice."""

from __future__ import annotations

from collections.abc import Sequence

from modelward.audit.record import Record

MOST = 10_000  # human actions among them are never given again


class Landed:
    """Of one log. Records are told apart as objects: two that say the same are two."""

    def __init__(self) -> None:
        self.tried: tuple[tuple[Record, ...], int] | None = None
        """The batch whose outcome is not known, and the number of its first."""
        self._numbers: dict[int, tuple[Record, int]] = {}  # they are held, so that no other object gets their id

    def settle(self, landed: bool) -> None:
        """Once the outcome of what was tried is known."""
        tried, self.tried = self.tried, None
        if tried is not None and landed:
            self._numbers |= {id(record): (record, tried[1] + i) for i, record in enumerate(tried[0])}
            while len(self._numbers) > MOST:
                del self._numbers[next(iter(self._numbers))]

    def new(self, records: Sequence[Record]) -> list[Record]:
        return [record for record in records if id(record) not in self._numbers]

    def numbers(self, records: Sequence[Record], first: int) -> list[int]:
        """Of records that are confirmed now, the new ones among them from `first` on."""
        found = []
        for record in records:
            if (held := self._numbers.pop(id(record), None)) is not None:
                found.append(held[1])
            else:
                found.append(first)
                first += 1
        return found
