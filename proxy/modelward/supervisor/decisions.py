"""What a server decides by itself, for the audit trail: noticed once a second, in what workers have told anyway.

A look compares what is so with what was so at the look before, and makes a record of each difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from modelward.audit.record import Record, automatic
from modelward.models.facts import FactsByVersion
from modelward.models.twins import twins
from modelward.problem import Problem
from modelward.repository.refused import Refused
from modelward.server.canary_causes import CanaryCauses
from modelward.server.containment import Contained, words

MOST_PROBLEMS = 10
MOST_SHAPES = 10

Version = tuple[str, str]  # model, version
Shadow = tuple[str, str, str]  # model, version of the primary, name


class Seen(Struct, frozen=True):
    """What is so at a look. versions: digests of those that are served, by model and version; empty of an upstream's.
    unsealed: digest and key's name of sealed versions, by model, version and the process that has opened it.
    failing: versions whose canary fails. wrong: addresses where an endpoint fails one. why: causes of both.
    breakers: states of endpoints by address. shared: whether the store of shared limits answers, None where there is
    none. verdicts: on shadows, with counts. counters: by verb, what only grows; causes: of deaths of workers."""

    versions: Mapping[Version, str] = field(default_factory=dict)
    unsealed: Mapping[tuple[str, str, int], tuple[str, str]] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    contained: tuple[Contained, ...] = ()
    failing: frozenset[Version] = frozenset()
    wrong: frozenset[str] = frozenset()
    why: CanaryCauses = field(default_factory=CanaryCauses)
    breakers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    shared: bool | None = None
    verdicts: Mapping[Shadow, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    causes: Mapping[str, int] = field(default_factory=dict)


def differences(before: Seen, now: Seen) -> Iterator[Record]:
    """In an order in which one explains the next."""
    yield from _counted(before, now)
    if now.versions is not before.versions:
        yield from _versions(before.versions, now.versions)
    yield from _unsealed(before.unsealed, now.unsealed)
    yield from _refused(before.refused, now.refused)
    yield from _contained(before.contained, now.contained)
    yield from _canaries(before.failing, now.failing, now.why)
    yield from _endpoints(before.wrong, now.wrong, now.why)
    yield from _verdicts(before.verdicts, now.verdicts)
    yield from _breakers(before.breakers, now.breakers)
    if now.shared is not None and before.shared is not None and now.shared != before.shared:
        yield automatic("limits.store_back" if now.shared else "limits.store_lost")


def versions_of(facts: Mapping[str, FactsByVersion], served: Mapping[str, list[str]]) -> dict[Version, str]:
    """Of a report (modelward.server.report)."""
    return {
        (model, version): facts[model][version].digest if version in facts.get(model, {}) else ""
        for model, versions in served.items()
        for version in versions
    }


def _counted(before: Seen, now: Seen) -> Iterator[Record]:
    for verb, count in now.counters.items():
        if (new := count - before.counters.get(verb, 0)) > 0:
            causes = {cause: n - before.causes.get(cause, 0) for cause, n in now.causes.items()}
            causes = {cause: n for cause, n in causes.items() if n > 0} if verb == "worker.died" else {}
            yield automatic(verb, figures={"count": new} | ({"causes": causes} if causes else {}))


def _versions(before: Mapping[Version, str], now: Mapping[Version, str]) -> Iterator[Record]:
    for (model, version), digest in now.items():
        if (model, version) not in before:
            same = twins((model, version), now)
            why = f"it has the same files as {same}" if same else ""
            yield automatic("version.loaded", model=model, version=version, digest=digest, reason=why)
        elif (was := before[model, version]) != digest:
            yield automatic("version.replaced", model=model, version=version, digest=digest, before=was, after=digest)
    for (model, version), digest in before.items():
        if (model, version) not in now:
            yield automatic("version.removed", model=model, version=version, digest=digest)


def _unsealed(
    before: Mapping[tuple[str, str, int], tuple[str, str]], now: Mapping[tuple[str, str, int], tuple[str, str]]
) -> Iterator[Record]:
    for process, (digest, key) in now.items():
        if before.get(process) != (digest, key):
            model, version, pid = process
            after = {"key": key, "worker": pid}
            yield automatic("version.unsealed", model=model, version=version, digest=digest, after=after)


def _refused(before: tuple[Refused, ...], now: tuple[Refused, ...]) -> Iterator[Record]:
    for each in now:
        if each not in before:
            yield automatic(
                "version.refused",
                result="refused",
                model=each.name,
                version=each.version,
                after={"kept": True} if each.kept else None,
                problems=_problems(each.problems),
            )


def _contained(before: tuple[Contained, ...], now: tuple[Contained, ...]) -> Iterator[Record]:
    was = {(each.model, each.version, each.digest): each for each in before}
    for each in now:
        old = was.pop((each.model, each.version, each.digest), None)
        if old == each:
            continue
        out = (each.wholly or each.loading) and not (old is not None and (old.wholly or old.loading))
        yield automatic(
            "version.out_of_service" if out else "version.contained",
            model=each.model,
            version=each.version,
            reason="workers died of it",
            after={
                "shapes": [words(dims) for dims in each.shapes[:MOST_SHAPES]],
                "callers": len(each.callers),
                "runs_alone": each.alone,
                "loading": each.loading,
            },
        )
    for each in was.values():
        yield automatic("version.opened", model=each.model, version=each.version, reason="it is run again")


def _canaries(before: frozenset[Version], now: frozenset[Version], causes: CanaryCauses) -> Iterator[Record]:
    for model, version in sorted(now - before):
        why = _with_cause("it gets no requests meanwhile", causes.versions.get((model, version), ""))
        yield automatic("canary.failed", model=model, version=version, reason=why)
    for model, version in sorted(before - now):
        yield automatic("canary.passed", model=model, version=version)


def _with_cause(words: str, cause: str) -> str:
    return f"{words}: {cause}" if cause else words


def _endpoints(before: frozenset[str], now: frozenset[str], causes: CanaryCauses) -> Iterator[Record]:
    for address in sorted(now - before):
        why = _with_cause("it gets no requests of the model meanwhile", causes.upstreams.get(address, ""))
        yield automatic("upstream.canary_failed", object=f"upstream {address}", reason=why)
    for address in sorted(before - now):
        yield automatic("upstream.canary_passed", object=f"upstream {address}")


def _verdicts(
    before: Mapping[Shadow, tuple[str, Mapping[str, Any]]], now: Mapping[Shadow, tuple[str, Mapping[str, Any]]]
) -> Iterator[Record]:
    for (model, version, name), (verdict, figures) in now.items():
        was = before[model, version, name][0] if (model, version, name) in before else "undecided"
        if verdict != was:
            yield automatic("shadow.verdict", model=model, version=version, object=f"shadow {name}", before=was,
                            after=verdict, figures=figures)  # fmt: skip


def _breakers(before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]) -> Iterator[Record]:
    for address, states in now.items():
        was = before.get(address, {}).get("open", 0)
        if bool(was) != bool(states.get("open", 0)):
            verb = "breaker.closed" if was else "breaker.opened"
            yield automatic(verb, object=f"upstream {address}", after={state: n for state, n in states.items() if n})


def _problems(problems: tuple[Problem, ...]) -> tuple[dict[str, str], ...]:
    return tuple(each.as_json() for each in problems[:MOST_PROBLEMS])
