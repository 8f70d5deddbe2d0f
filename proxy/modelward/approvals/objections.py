"""What was decided about files of the configuration, whatever else changes with them: which changes were rejected, and
who has claimed one. A file is its name and the digest of its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from msgspec import structs

from modelward.config.settings_files import digest_of
from modelward.records import Struct

MOST_REJECTED = 1000
MOST_CLAIMS = 1000


class Claim(Struct, frozen=True, kw_only=True):
    """by: the operator who has changed the file, or who has proposed the change."""

    file: str
    by: str


class Objections(Struct, frozen=True, kw_only=True):
    """rejected: when, in seconds since 1970. dropped: the latest time of those that are not kept any more."""

    rejected: Mapping[str, float] = {}
    dropped: float = 0.0
    claims: tuple[Claim, ...] = ()

    def after(self, file: str, *, asked: bool) -> float:
        """Signatures on this file that were made until then do not count. asked: an operator has proposed it, again
        where it was rejected. Without that no signature opens again what was rejected."""
        if file in self.rejected:
            return self.rejected[file] if asked else inf
        return self.dropped

    def claimants(self, file: str) -> frozenset[str]:
        return frozenset(each.by for each in self.claims if each.file == file)

    def with_rejected(self, files: Sequence[str], now: float) -> Objections:
        rejected = {**self.without(files).rejected, **dict.fromkeys(files, now)}
        extra = [*rejected][: max(0, len(rejected) - MOST_REJECTED)]
        dropped = max([self.dropped, *(rejected.pop(file) for file in extra)])
        return structs.replace(self, rejected=rejected, dropped=dropped)

    def with_claim(self, files: Sequence[str], by: str) -> Objections:
        gone = {*files}
        kept = (each for each in self.claims if each.by != by or each.file not in gone)
        claims = (*kept, *(Claim(file=file, by=by) for file in files))
        return structs.replace(self, claims=claims[-MOST_CLAIMS:])

    def without(self, files: Sequence[str]) -> Objections:
        """Once others have approved them and they are followed."""
        gone = {*files}
        rejected = {file: at for file, at in self.rejected.items() if file not in gone}
        claims = tuple(each for each in self.claims if each.file not in gone)
        return structs.replace(self, rejected=rejected, claims=claims)


def file_of(name: str, data: bytes) -> str:
    return f"{name} {digest_of(data)}"


def changed(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> tuple[str, ...]:
    """Files of `after` that differ from those before. One that is gone, nobody can sign."""
    return tuple(file_of(name, data) for name, data in sorted(after.items()) if before.get(name) != data)
