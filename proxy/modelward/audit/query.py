"""Records of a log that are asked for, from the first on or from the last back, one bundle at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from modelward.audit.log import Gone, Reader
from modelward.audit.merkle import leaf_hash
from modelward.audit.tiles import TILE, split

_WILD = "*?["


class Found(Struct, frozen=True):
    """fields: of the record, parsed. leaf: as it is in the log."""

    number: int
    leaf: bytes
    fields: Mapping[str, Any]


class Filter(Struct, frozen=True):
    """Empty: everything. Texts are patterns in which * stands for anything. request: the number of a record, and what
    came of it."""

    since: datetime | None = None
    until: datetime | None = None
    actor: str = ""
    verb: str = ""
    model: str = ""
    version: str = ""
    digest: str = ""
    object: str = ""
    kind: str = ""
    result: str = ""
    server: str = ""
    proposal: int | None = None
    request: int | None = None
    break_glass: bool = False

    def matches(self, record: Mapping[str, Any]) -> bool:
        return self._in_time(record) and self._about(record)

    def _in_time(self, record: Mapping[str, Any]) -> bool:
        if self.since is None and self.until is None:
            return True
        at = datetime.fromisoformat(str(record.get("at", "")))
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    def _about(self, record: Mapping[str, Any]) -> bool:
        if self.proposal is not None and record.get("proposal") != self.proposal:
            return False
        if self.request is not None and self.request not in (record.get("n"), record.get("of")):
            return False
        if self.break_glass and not record.get("break_glass"):
            return False
        actor = record.get("actor")
        named = {**record, "actor": actor.get("name", "") if isinstance(actor, Mapping) else "modelward"}
        texts = ((name, getattr(self, name)) for name in _TEXTS)
        return all(fnmatchcase(str(named.get(name, "")), pattern) for name, pattern in texts if pattern)

    @property
    def needles(self) -> tuple[bytes, ...]:
        """What a matching leaf holds, whatever else it does: most others need not be parsed."""
        exact = [getattr(self, name) for name in _TEXTS if name != "actor" or self.actor != "modelward"]
        return tuple(
            json.dumps(text, ensure_ascii=False).encode() for text in exact if text and not set(text) & set(_WILD)
        )


_TEXTS = tuple(each.name for each in fields(Filter) if each.type is str)


def parsed(number: int, leaf: bytes) -> Any:
    """Raises ValueError."""
    try:
        return json.loads(leaf)
    except RecursionError:
        raise ValueError(f"record {number} is nested too deeply to be read") from None


def select(
    log: Reader,
    first: int,
    end: int,
    wanted: Filter,
    *,
    backwards: bool = False,
    gone: Callable[[int, int], None] = lambda first, end: None,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Found]:
    """Matching records from `first` to before `end`. gone: told of records whose contents are not there any more;
    retention may have removed them. progress: told how many were looked at.

    Each is held against its hash in the log first. Raises Gone, also where it has another, OSError, ValueError where
    a record is none.
    """
    needles = wanted.needles
    bundles = range(first // TILE, -(-end // TILE))
    done = 0
    for index in reversed(bundles) if backwards else bundles:
        start = index * TILE
        width = min(TILE, end - start)
        try:
            leaves = log.bundle(index, width)
        except Gone as missing:
            if not missing.missing:
                raise
            gone(start, start + width)
            continue
        hashes = split(log.hashes(0, index, width))
        for number, (leaf, expected) in enumerate(zip(leaves, hashes, strict=True), start):
            if leaf_hash(leaf) != expected:
                raise Gone(f"record {number} was changed", number)
        numbered = [*enumerate(leaves, start)][max(0, first - start) :]
        for number, leaf in reversed(numbered) if backwards else numbered:
            if all(needle in leaf for needle in needles):
                record = parsed(number, leaf)
                if isinstance(record, dict) and wanted.matches(record):
                    yield Found(number, leaf, record)
        done += len(numbered)
        progress(done)
