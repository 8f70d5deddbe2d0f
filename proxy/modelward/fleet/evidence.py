"""What a server has counted in the present steps of promotions, and of shadows, as the others read it and add it up.

Counts of one step are added only where it is the same step of the same promotion, in which every server gives the
version the same share. So the sum is what one server would have counted that had all of their requests: the same
callers are the same parts, since the servers of a fleet hash them with one key.
"""

from __future__ import annotations

import zlib
from base64 import b85decode, b85encode
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, field, structs

from modelward.fleet.record import Malformed
from modelward.fleet.store import LARGEST_EVIDENCE
from modelward.promotion.guard import NOTHING, Arm
from modelward.promotion.outputs import CELLS
from modelward.promotion.parts import WAYS, Parts
from modelward.promotion.state import Promotion
from modelward.promotion.step import Sides
from modelward.records import Struct, written
from modelward.records import read as read_record
from modelward.shadow.pairs import LATENCIES, Pairs, essence
from modelward_native.shadow.evidence import CALLER_PARTS
from modelward_native.telemetry.histogram import EDGES

if TYPE_CHECKING:
    from modelward_native.shadow.stats import Sums

MOST_SHADOWS = 16
MOST_MODELS = 16
"""That one server tells of; beyond these it judges, and waits, by what it has counted alone."""
LARGEST_COUNT = 1 << 53
SIZES = {"tallies": 4, "latency": len(EDGES), "outputs": CELLS}
ITEM = 8  # bytes of a count

Key = tuple[str, str, str]
"""Of a shadow: model, version of the primary, name."""
Part = Annotated[int, Meta(ge=0, lt=CALLER_PARTS)]
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
Counts = tuple[Count, ...]


class Counted(Struct, frozen=True, kw_only=True):
    """An Arm. Cells that hold nothing at the end are left out; parts: compressed, base85."""

    requests: Count = 0
    errors: Count = 0
    fallbacks: Count = 0
    failing: Count = 0
    latency: Counts = ()
    outputs: Counts = ()
    callers: Counts = ()
    tallies: str = ""
    by_latency: str = ""
    by_outputs: str = ""


class OfStep(Struct, frozen=True, kw_only=True):
    """Of one model. version, began, step: of its promotion; the others are modelward.promotion.step.Sides."""

    version: str
    began: int
    step: int
    here: Counted = Counted()
    there: Counted = Counted()
    before: Counted = Counted()
    ever: Counted = Counted()
    recent_here: Counted | None = None
    recent_there: Counted = Counted()


class OfPairs(Struct, frozen=True, kw_only=True):
    """Sums over pairs of a shadow. latencies: the first cell that holds anything, and the counts from there on."""

    compared: Count = 0
    primary_failed: Count = 0
    shadow_failed: Count = 0
    both_failed: Count = 0
    disagreement: Annotated[float, Meta(ge=0, le=LARGEST_COUNT)] = 0.0
    latency_primary: Counts = ()
    latency_shadow: Counts = ()


class OfShadow(Struct, frozen=True, kw_only=True):
    """primary, name: of a shadow of the model. The others are modelward.shadow.pairs.Pairs, callers by their part."""

    model: str
    primary: str
    name: str
    files: str = ""
    total: OfPairs = OfPairs()
    floor: OfPairs | None = None
    callers: Mapping[Part, OfPairs] = {}


class Evidence(Struct, frozen=True, kw_only=True):
    steps: Annotated[Mapping[str, OfStep], Meta(max_length=MOST_MODELS)] = {}
    shadows: Annotated[tuple[OfShadow, ...], Meta(max_length=MOST_SHADOWS)] = ()


class Heard(msgspec.Struct, frozen=True):
    """What a server has counted: by model in the present step, and of shadows."""

    steps: Mapping[str, tuple[OfStep, Sides]] = field(default_factory=dict)
    shadows: Mapping[Key, Pairs] = field(default_factory=dict)


def encoded(counted: Mapping[str, tuple[Promotion, Sides]], shadows: Mapping[Key, Pairs] | None = None) -> bytes:
    """Of the first MOST_MODELS and MOST_SHADOWS; empty without any. What would be too long to be read is left
    out, the shadows first."""
    steps = {model: _of_step(*counted[model]) for model in sorted(counted)[:MOST_MODELS]}
    pairs = tuple(_of_shadow(key, each) for key, each in sorted((shadows or {}).items())[:MOST_SHADOWS])
    for evidence in (Evidence(steps=steps, shadows=pairs), Evidence(steps=steps)):
        data = written(evidence, defaults=False) if evidence != Evidence() else b""
        if len(data) <= LARGEST_EVIDENCE:
            return data
    return b""


def decoded(data: bytes, models: Collection[str] | None = None, shadows: Collection[Key] | None = None) -> Heard:
    """models, shadows: whose counts are unpacked, which take hundreds of times what they take in the record; None for
    all. Raises Malformed."""
    if len(data) > LARGEST_EVIDENCE:
        raise Malformed("it is too long")
    try:
        evidence = read_record(Evidence, data)
        steps = {m: (each, _sides(each)) for m, each in evidence.steps.items() if models is None or m in models}
        pairs = {(each.model, each.primary, each.name): each for each in evidence.shadows}
        return Heard(steps, {k: _pairs(each) for k, each in pairs.items() if shadows is None or k in shadows})
    except (ValueError, zlib.error) as error:
        raise Malformed(str(error)) from error


def _of_shadow(key: Key, pairs: Pairs) -> OfShadow:
    model, primary, name = key
    callers = {part: _of_pairs(sums) for part, sums in pairs.callers.items()}
    floor = _of_pairs(pairs.floor) if pairs.floor is not None else None
    total = _of_pairs(pairs.total)
    return OfShadow(
        model=model, primary=primary, name=name, files=pairs.files, total=total, floor=floor, callers=callers
    )


def _of_pairs(sums: Sums) -> OfPairs:
    return OfPairs(
        compared=sums["compared"],
        primary_failed=sums["primary_failed"],
        shadow_failed=sums["shadow_failed"],
        both_failed=sums["both_failed"],
        disagreement=sums["disagreement"],
        latency_primary=_from_first(sums["latency_primary"]),
        latency_shadow=_from_first(sums["latency_shadow"]),
    )


def _from_first(counts: Sequence[int]) -> tuple[int, ...]:
    kept = _cut(tuple(counts))
    first = next((cell for cell, count in enumerate(kept) if count), 0)
    return (first, *kept[first:]) if kept else ()


def _pairs(shadow: OfShadow) -> Pairs:
    callers = {part: _sums(each) for part, each in shadow.callers.items()}
    floor = _sums(shadow.floor) if shadow.floor is not None else None
    return Pairs(_sums(shadow.total), floor, callers, shadow.files)


def _sums(pairs: OfPairs) -> Sums:
    return essence({**structs.asdict(pairs), **{name: _since_first(getattr(pairs, name)) for name in LATENCIES}})


def _since_first(counts: tuple[int, ...]) -> list[int]:
    if counts and counts[0] + len(counts) - 1 > len(EDGES):
        raise ValueError("there are too many cells")
    return [*_whole((*(0 for _ in range(counts[0])), *counts[1:]) if counts else (), len(EDGES))]


def _of_step(promotion: Promotion, seen: Sides) -> OfStep:
    recent = seen.recent
    return OfStep(
        version=promotion.version,
        began=promotion.began,
        step=promotion.step,
        here=_counted(seen.here),
        there=_counted(seen.there),
        before=_counted(seen.before),
        ever=_counted(seen.ever),
        recent_here=_counted(recent[0]) if recent is not None else None,
        recent_there=_counted(recent[1]) if recent is not None else Counted(),
    )


def _counted(arm: Arm) -> Counted:
    return Counted(
        requests=arm.requests,
        errors=arm.errors,
        fallbacks=arm.fallbacks,
        failing=arm.failing,
        latency=_cut(arm.latency),
        outputs=_cut(arm.outputs),
        callers=_cut(arm.callers),
        tallies=_packed(arm.parts.tallies),
        by_latency=_packed(arm.parts.latency),
        by_outputs=_packed(arm.parts.outputs),
    )


def _cut(counts: tuple[int, ...]) -> tuple[int, ...]:
    end = len(counts)
    while end and not counts[end - 1]:
        end -= 1
    return counts[:end]


def _packed(data: bytes) -> str:
    return b85encode(zlib.compress(data, 1)).decode() if data.strip(b"\0") else ""


def _sides(step: OfStep) -> Sides:
    recent = None if step.recent_here is None else (_arm(step.recent_here), _arm(step.recent_there))
    return Sides(_arm(step.here), _arm(step.there), _arm(step.before), _arm(step.ever), recent)


def _arm(counted: Counted) -> Arm:
    if counted == Counted():
        return NOTHING
    return Arm(
        requests=counted.requests,
        errors=counted.errors,
        fallbacks=counted.fallbacks,
        failing=counted.failing,
        latency=_whole(counted.latency, len(EDGES)),
        outputs=_whole(counted.outputs, CELLS),
        callers=_whole(counted.callers, CALLER_PARTS),
        parts=Parts(
            _unpacked(counted.tallies, SIZES["tallies"]),
            _unpacked(counted.by_latency, SIZES["latency"]),
            _unpacked(counted.by_outputs, SIZES["outputs"]),
        ),
    )


def _whole(counts: tuple[int, ...], size: int) -> tuple[int, ...]:
    if len(counts) > size:
        raise ValueError(f"there are {len(counts)} counts in place of {size}")
    return (*counts, *(0 for _ in range(size - len(counts))))


def _unpacked(text: str, size: int) -> bytes:
    """Counts by way and part of the callers, `size` of each. Raises ValueError, zlib.error."""
    if not text:
        return b""
    wanted = WAYS * CALLER_PARTS * size * ITEM
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(b85decode(text), wanted + 1)
    if len(data) != wanted:
        raise ValueError(f"there are not {wanted} bytes of counts")
    from numpy import frombuffer, int64  # noqa: PLC0415 - 20 MB: a supervisor has it only while a version is promoted

    counts = frombuffer(data, int64)
    if int(counts.min()) < 0 or int(counts.max()) > LARGEST_COUNT:
        raise ValueError("a count is out of range")
    return data
