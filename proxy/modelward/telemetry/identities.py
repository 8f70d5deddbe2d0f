"""What identities that are named in the configuration have asked for, and what came of it."""

from collections.abc import Sequence
from urllib.parse import unquote

from msgspec.structs import replace

from modelward.telemetry.snapshot import IdentitySnapshot
from modelward_native.limits.callers import LEVELS, read, unwanted
from modelward_native.region.region import Region

PROVED = ("certificate", "token", "key")  # kinds of callers that have a name
NS = 1e9


def of_identities(region: Region, names: Sequence[str]) -> dict[str, IdentitySnapshot]:
    """One for each name, also where nothing was seen of it. Each worker knows the 64 callers with most of each figure,
    so the figures of another one may begin again."""
    found = {name: IdentitySnapshot(refused=dict.fromkeys(LEVELS, 0)) for name in names}
    if not found:
        return found
    (refused, spending), (denied, anomalous, _) = read(region), unwanted(region)
    for rows, take in ((refused, _refused), (spending, _spent), (denied, _denied), (anomalous, _anomalous)):
        for _, kind, name, levels, requests, spent_ns, _ in rows:
            if kind in PROVED and (known := found.get(text := unquote(name))) is not None:
                found[text] = take(known, levels, requests, spent_ns)
    return found


def _refused(known: IdentitySnapshot, levels: Sequence[int], requests: int, spent_ns: int) -> IdentitySnapshot:
    return replace(known, refused={level: known.refused[level] + n for level, n in zip(LEVELS, levels, strict=True)})


def _spent(known: IdentitySnapshot, levels: Sequence[int], requests: int, spent_ns: int) -> IdentitySnapshot:
    return replace(known, requests=known.requests + requests, seconds=known.seconds + spent_ns / NS)


def _denied(known: IdentitySnapshot, levels: Sequence[int], requests: int, spent_ns: int) -> IdentitySnapshot:
    return replace(known, denied=known.denied + requests)


def _anomalous(known: IdentitySnapshot, levels: Sequence[int], requests: int, spent_ns: int) -> IdentitySnapshot:
    return replace(known, anomalous=known.anomalous + requests)
