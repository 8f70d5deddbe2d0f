"""Who is over which limit, and who spends most: from the tables of all workers, for operators and the log."""

import asyncio
import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from msgspec import Struct, field

from modelward.plural import counted
from modelward_native.limits.callers import LEVELS, observed_key, read, unwanted
from modelward_native.region.region import Region

log = logging.getLogger("modelward.limits")

INTERVAL_SECONDS = 10.0
LINES = 5  # of one interval
PROVED = ("certificate", "token", "key")  # kinds of callers that have a name
_HASH = re.compile("[0-9a-f]{16}")


class Caller(Struct, frozen=True):
    """kind: address, behind proxy, certificate, token or key. refused: by the level whose limit it was over.

    refused_ago: seconds, None for never. requests and spent_seconds are of a sample of one in 64.
    """

    kind: str
    name: str
    refused: Mapping[str, int] = field(default_factory=dict)
    requests: int = 0
    spent_seconds: float = 0.0
    refused_ago: float | None = None

    @property
    def refusals(self) -> int:
        """In all."""
        return sum(self.refused.values())

    @property
    def words(self) -> str:
        """As the log calls it."""
        return f"{self.kind} {self.name!r}"


class Callers(Struct, frozen=True):
    """The most refused, and those who spend most, the first ones first."""

    refused: Sequence[Caller] = ()
    spending: Sequence[Caller] = ()


def most(region: Region, count: int) -> Callers:
    """The first `count` of both."""
    refused, spending = read(region)
    return Callers(
        tuple(sorted(_added(refused).values(), key=lambda each: -each.refusals)[:count]),
        tuple(sorted(_added(spending).values(), key=lambda each: -each.spent_seconds)[:count]),
    )


class Unwanted(Struct, frozen=True):
    """By caller, as the log calls it, how often since it is in the tables: calls denied, anomalous requests,
    connections refused or closed for what they did."""

    denied: Mapping[str, int] = field(default_factory=dict)
    anomalous: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[str, int] = field(default_factory=dict)


def counted_by_caller(region: Region) -> Unwanted:
    return Unwanted(*({each.words: each.requests for each in _added(rows).values()} for rows in unwanted(region)))


def names(region: Region) -> dict[int, str]:
    """Of all callers that the tables know, by the key of their budget."""
    return {key: each.words for rows in read(region) for key, each in _added(rows).items()}


def observed(region: Region, texts: Sequence[str], others: Iterable[str] = ()) -> dict[str, str]:
    """Hash of an identity in observations, 16 digits -> who that is, in words. texts: such hashes, or names.

    A hash is found where a table knows its caller, or it is of one of `others`; a name has one in any case.
    """
    found: dict[str, str] = {}
    known: dict[int, str] = {observed_key(region, name): f"identity {name!r}" for name in others}
    for each in (caller for rows in read(region) for caller in _added(rows).items()):
        key, caller = each
        known[observed_key(region, caller.name) if caller.kind in PROVED else key] = caller.words
    for text in texts:
        if _HASH.fullmatch(text) is None:
            found[f"{observed_key(region, text):016x}"] = f"identity {text!r}"
        elif words := known.get(int(text, 16)) or known.get(int(text, 16) | 1):  # tables mark keys of addresses
            found[text] = words
    return found


def _added(rows: list[Any]) -> dict[int, Caller]:
    """By key: what all workers know of a caller."""
    found: dict[int, Caller] = {}
    now = time.monotonic_ns()
    for key, kind, name, refused, requests, spent_ns, at in rows:
        before = found.get(key, Caller(kind, unquote(name)))
        ago = max(now - at, 0) / 1e9 if at else None
        found[key] = Caller(
            kind,
            before.name,
            {level: n + before.refused.get(level, 0) for level, n in zip(LEVELS, refused, strict=True)},
            before.requests + requests,
            before.spent_seconds + spent_ns / 1e9,
            min((each for each in (ago, before.refused_ago) if each is not None), default=None),
        )
    return found


class Watch:
    """Says in the log who was refused since it last looked: a few lines, however many there are."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._before: dict[tuple[str, str], int] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            self.look()

    def look(self) -> None:
        """One line for each of those who were refused most since the last look."""
        callers = _added(read(self._region)[0]).values()
        before, self._before = self._before, {(each.kind, each.name): each.refusals for each in callers}
        # one that had lost its place in the table begins again
        more = [(max(each.refusals - before.get((each.kind, each.name), 0), 0), each) for each in callers]
        listed = sorted(((n, each) for n, each in more if n), key=lambda pair: -pair[0])
        for n, each in listed[:LINES]:
            levels = ", ".join(level for level, count in each.refused.items() if count)
            log.warning(
                "%s is over a limit: %s refused in the last %.0f s; limits that refused it so far: %s",
                each.words, counted(n, "request"), INTERVAL_SECONDS, levels,
                extra={"fields": {"kind": each.kind, "name": each.name, "requests": n, "reason": levels}},
            )  # fmt: skip
        if len(listed) > LINES:
            others = sum(n for n, _ in listed[LINES:])
            left_out = counted(len(listed) - LINES, "more caller")
            log.warning("%s over a limit: %s refused", left_out, counted(others, "request"))
