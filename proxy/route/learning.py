"""Models that are not known, of upstreams that have no index: which of them to ask for, and when again.

Strangers choose these names: names, questions a second, and what one peer may have waiting are bounded.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from proxy.config.names import fault_of_name

WAITING = 64
WAITING_OF_PEER = 4
AT_ONCE = 4  # questions in each round of the refresher, which has four a second
ABSENT = 1024  # names that no upstream knew, of which the oldest are forgotten
ABSENT_SECONDS = 30.0
SILENT_SECONDS = 2.0
MOST_LEARNED = 256


class Learning:
    def __init__(self) -> None:
        self._waiting: OrderedDict[str, int] = OrderedDict()  # name -> the peer that asked first
        self._absent: OrderedDict[str, float] = OrderedDict()  # name -> when it may be asked for again
        self._of_peer: Counter[int] = Counter()
        self.learned = 0

    def wants(self, name: str, peer: int, now: float) -> bool:
        """Whether the model is about to be asked for; now: of the loop's clock."""
        if name in self._waiting:
            return True
        if self.learned >= MOST_LEARNED or self._absent.get(name, 0.0) > now or fault_of_name(name):
            return False
        if len(self._waiting) >= WAITING or self._of_peer[peer] >= WAITING_OF_PEER:
            return False
        self._waiting[name] = peer
        self._of_peer[peer] += 1
        return True

    def is_waiting(self, name: str) -> bool:
        return name in self._waiting

    def next(self) -> list[str]:
        """Names to ask for now; `done` is to follow for each."""
        return list(self._waiting)[:AT_ONCE]

    def done(self, name: str, now: float, *, found: bool, silent: bool) -> None:
        """silent: some upstream could not be asked, and so may have it."""
        peer = self._waiting.pop(name)
        self._of_peer[peer] -= 1
        if not self._of_peer[peer]:
            del self._of_peer[peer]
        if found:
            self.learned += 1
            return
        self._absent[name] = now + (SILENT_SECONDS if silent else ABSENT_SECONDS)
        self._absent.move_to_end(name)
        if len(self._absent) > ABSENT:
            self._absent.popitem(last=False)
