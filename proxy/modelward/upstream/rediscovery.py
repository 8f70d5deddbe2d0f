"""What upstreams serve now, against what they have told before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct, field

from modelward.config.upstream import UpstreamAddress
from modelward.problem import ProblemsFound
from modelward.status import Code
from modelward.upstream.channel import CallError
from modelward.upstream.metadata import DescribedVersion, Index, Inquiry, inquire
from modelward.upstream.models import PASSTHROUGH, News, Told, UpstreamModels

log = logging.getLogger("modelward.upstream")

Addresses = tuple[UpstreamAddress, ...]

# between two models of one upstream: many of them are no burst on our loop, nor on the upstream
PACE_SECONDS = 0.01
# there is such a model no more, or not yet
ABSENT = (Code.NOT_FOUND,)
# it will not tell, and says nothing of whether it serves it
MUTE = (Code.UNIMPLEMENTED, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)


class Seen(Struct):
    """By all upstreams of one list of addresses.

    described: models that one of them tells of. absent: models that each of them has said it does not serve now.
    listed: the names of all their models, None where they were not asked for or not each of them has told. silent: how
    many could not be asked.
    """

    described: dict[str, list[DescribedVersion]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    listed: set[str] | None = None
    silent: int = 0


async def survey(
    upstreams: UpstreamModels, names: Collection[str], local: Collection[str], *, listing: bool
) -> tuple[News, int]:
    """Asks for these models, and with `listing` for the lists of models; and how many upstreams could not be asked.

    local: models that run here, whatever upstreams call theirs. Models that are new are asked for, too.
    """
    told: dict[tuple[str, Addresses], object] = {}
    missing = set(upstreams.missing)
    silent = 0
    for addresses, known in _by_addresses(upstreams.told).items():
        lists = upstreams.told.get((PASSTHROUGH, addresses)) is not None
        wanted = [name for name in known if name in names]
        if not wanted and not (lists and listing):
            continue
        seen = await _look(addresses, wanted, known, local, listing=lists and listing)
        silent += seen.silent
        for name, described in seen.described.items():
            before = upstreams.told.get((name, addresses))
            if before is None or not same(before, described):
                told[name, addresses] = described
        missing = (missing - seen.described.keys()) | seen.absent
        if seen.listed is not None:
            before = upstreams.told[PASSTHROUGH, addresses]
            # what cannot be described yet is looked at again the next time; what the configuration names stays
            stays = {name for name in known if name in seen.listed or upstreams.is_configured(name)}
            now = sorted(stays | (seen.listed & seen.described.keys()))
            missing -= set(known) - stays
            if now != sorted(before):
                told[PASSTHROUGH, addresses] = now
    return News(told, frozenset(missing)), silent


async def learn(upstreams: UpstreamModels, name: str) -> tuple[News | None, int]:
    """News of a model that an upstream without an index serves, None where none of them does; and how many could not be
    asked."""
    silent = 0
    for (kind, addresses), told in upstreams.told.items():
        if kind == PASSTHROUGH and told is None:
            seen = await _look(addresses, [name], (), (), listing=False)
            silent += seen.silent
            if name in seen.described:
                return News({(name, addresses): seen.described[name]}, upstreams.missing), silent
    return None, silent


def same(before: list[DescribedVersion], after: list[DescribedVersion]) -> bool:
    return len(before) == len(after) and all(a.is_as(b) for a, b in zip(before, after, strict=True))


async def _look(
    addresses: Addresses, wanted: Iterable[str], known: Collection[str], local: Collection[str], *, listing: bool
) -> Seen:
    """Each upstream is asked for what those before it have not told."""
    seen = Seen()
    left = list(wanted)
    listed: set[str] = set()
    for address in addresses:
        if not left and not listing:
            break
        try:
            async with inquire(address) as inquiry:
                index = await inquiry.index()
                if listing:
                    names, _ = await inquiry.names(say=False) or ([], 0)
                    listed.update(names)
                    left += [n for n in names if n not in known and n not in local and n not in left]
                names = [name for name in left if name not in seen.described]
                left = await _describe(inquiry, index, names, known, seen)
        except (CallError, ProblemsFound) as error:
            log.debug("upstream %s was not asked for its models: %s", address.text, error)
            seen.silent += 1
    if not seen.silent:
        seen.absent = {name for name in left if name in known}
        seen.listed = listed if listing else None
    return seen


async def _describe(
    inquiry: Inquiry, index: Index | None, names: list[str], known: Collection[str], seen: Seen
) -> list[str]:
    """Takes what the upstream tells; returns the models that it does not serve.

    An index lists what is ready. Without one the models that are known are asked for one by one.
    """
    absent = []
    for name in names:
        if index is not None and name not in index:
            absent.append(name)
            continue
        await asyncio.sleep(PACE_SECONDS)
        try:
            if index is None and name in known and not await inquiry.is_ready(name):
                absent.append(name)
                continue
            seen.described[name] = await inquiry.describe(name, index)
        except CallError as error:
            if error.code in ABSENT:
                absent.append(name)
            elif error.code not in MUTE:
                raise
    return absent


def _by_addresses(told: Told) -> Mapping[Addresses, list[str]]:
    """The models that each list of upstreams has told of."""
    found: dict[Addresses, list[str]] = {}
    for name, addresses in told:
        found.setdefault(addresses, [])
        if name != PASSTHROUGH:
            found[addresses].append(name)
    return found
