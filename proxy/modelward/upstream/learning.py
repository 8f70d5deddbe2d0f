"""Models that are not known, of upstreams that have no index: which of them to ask for, and when again.

Strangers choose these names: names, questions a second, and what one peer may have waiting are bounded.
"""

from __future__ import annotations

from collections import OrderedDict

from modelward.model_names import fault_of_name

WAITING = 64
WAITING_OF_PEER = 4
AT_ONCE = 4  # questions in each round of the refresher, which has four a second
ABSENT = 1024  # names that no upstream knew, of which the oldest are forgotten
ABSENT_SECONDS = 30.0
SILENT_SECONDS = 2.0
MOST_LEARNED = 256


class Learning:
    """Peers take turns, whatever the order in which they asked."""

    def __init__(self) -> None:
        self._waiting: dict[str, int] = {}  # name -> the peer that asked first
        self._of_peer: OrderedDict[int, list[str]] = OrderedDict()  # the same by peer, in the order of their turns
        self._asked: set[str] = set()  # of those that wait, for which `done` is to follow
        self._absent: OrderedDict[str, float] = OrderedDict()  # name -> when it may be asked for again
        self.learned = 0

    def wants(self, name: str, peer: int, now: float) -> bool:
        """Whether the model is about to be asked for; peer: key of an address; now: of the loop's clock."""
        if name in self._waiting:
            return True
        if self.learned >= MOST_LEARNED or self._absent.get(name, 0.0) > now or fault_of_name(name):
            return False
        own = len(self._of_peer.get(peer, ()))
        if own >= WAITING_OF_PEER or (len(self._waiting) >= WAITING and not self._make_way(own + 1)):
            return False
        self._waiting[name] = peer
        self._of_peer.setdefault(peer, []).append(name)
        return True

    def is_waiting(self, name: str) -> bool:
        return name in self._waiting

    def next(self) -> list[str]:
        """Names to ask for now; `done` is to follow for each."""
        chosen: list[str] = []
        while len(chosen) < AT_ONCE and (found := self._first()):
            peer, name = found
            self._asked.add(name)
            self._of_peer.move_to_end(peer)
            chosen.append(name)
        return chosen

    def done(self, name: str, now: float, *, found: bool, silent: bool) -> None:
        """silent: some upstream could not be asked, and so may have it."""
        self._forget(name)
        if found:
            self.learned += 1
            return
        self._absent[name] = now + (SILENT_SECONDS if silent else ABSENT_SECONDS)
        self._absent.move_to_end(name)
        if len(self._absent) > ABSENT:
            self._absent.popitem(last=False)

    def _first(self) -> tuple[int, str] | None:
        """Of the peer whose turn it is, its first name that is not asked for yet."""
        waiting = ((peer, name) for peer, names in self._of_peer.items() for name in names if name not in self._asked)
        return next(waiting, None)

    def _make_way(self, own: int) -> bool:
        """For a peer that would have `own`: the last name of the peer that has most gives way, where that has more."""
        most = max(self._of_peer.values(), key=len)
        if len(most) <= own or most[-1] in self._asked:
            return False
        self._forget(most[-1])
        return True

    def _forget(self, name: str) -> None:
        peer = self._waiting.pop(name)
        self._asked.discard(name)
        self._of_peer[peer].remove(name)
        if not self._of_peer[peer]:
            del self._of_peer[peer]
