"""What `version_policy` means for models with several versions: problems, and notes for READY and `check`."""

from collections.abc import Collection, Iterator, Mapping

from modelward.config.schema import Config
from modelward.models.facts import FactsByVersion
from modelward.problem import Problem
from modelward.repository.refused import Refused

LISTED = 8  # models that one note names
ACTS_AS_PROMOTED = "version_policy newest acts as promoted"


def newest_answers(config: Config, name: str, held: Collection[str] = ()) -> bool:
    """Whether the model's newest version answers because it is that. held: models whose shares promotions decide."""
    settings = config.settings(name)
    return name not in held and settings.versions is None and config.policy(name) == "newest"


def policy_notes(config: Config, facts: Mapping[str, FactsByVersion], held: Collection[str] = ()) -> Iterator[Problem]:
    """facts: versions ascending."""
    yield from _promoted_notes(config, facts)
    several = [name for name, known in facts.items() if len(known) > 1 and newest_answers(config, name, held)]
    if several:
        listed = ", ".join(f"{name} by {list(facts[name])[-1]}" for name in several[:LISTED])
        more = f" and {len(several) - LISTED} more" if len(several) > LISTED else ""
        what = f"with version_policy newest a new version answers from its arrival on: {listed}{more}"
        how = "Set version_policy to promoted, or versions: of the model, for versions that wait for modelward promote"
        yield Problem(what, "models", how=how)
    for name in several:
        *_, before, newest = facts[name]
        for guard in facts[name][newest].lacks(facts[name][before]):
            yield Problem(f"version {newest} answers without a {guard}, which version {before} has", f"model {name}")


def _promoted_notes(config: Config, names: Collection[str]) -> Iterator[Problem]:
    """Models that approvals keep from being answered by their newest version."""
    found = [name for name in names if config.settings(name).versions is None and config.newest_is_promoted(name)]
    for name in found[:LISTED]:
        why = "promotions need approvals, so no version answers from its arrival on"
        how = f"Promote the first too: modelward promote {name} VERSION. With version_policy promoted this note ends"
        yield Problem(ACTS_AS_PROMOTED, f"model {name}", why, how)
    if len(found) > LISTED:
        yield Problem(ACTS_AS_PROMOTED, f"{len(found) - LISTED} more models", "promotions of these need approvals too")


def takeovers(
    config: Config, before: Mapping[str, FactsByVersion], after: Mapping[str, FactsByVersion], held: Collection[str]
) -> list[Refused]:
    """New versions that a reload may not let take over: they lack a guard of the one that answers now."""
    refused = []
    for name, known in after.items():
        if not before.get(name) or not newest_answers(config, name, held):
            continue
        now = list(before[name])[-1]
        newer = list(known)[list(known).index(now) + 1 :] if now in known else []
        for version in newer:
            problems = tuple(_unguarded(name, version, now, guard) for guard in known[version].lacks(before[name][now]))
            if problems:
                refused.append(Refused(name, version, problems))
    return refused


def _unguarded(name: str, version: str, now: str, guard: str) -> Problem:
    how = (
        f"Make one for it; or set models.{name}.versions to {{{now}: 1}}, reload, and "
        f"modelward promote {name} {version} --without-{guard}"
    )
    what, why = f"version {version} has no {guard}, and version {now} has one", "as the newest version it would answer"
    return Problem(what, f"model {name} version {version}", why, how)


def _lies(config: Config, name: str) -> str:
    return f"its versions are those of {config.repository}/{name}" if config.repository is not None else ""


def explicit_problems(config: Config, names: Collection[str]) -> list[Problem]:
    """Models of the repository that need `versions:` and have none."""
    what = "version_policy is explicit and the model has no versions"
    how = 'Name the versions that answer: {"1": 1}, or set version_policy to newest or promoted'
    return [
        Problem(what, f"models.{name}.versions", _lies(config, name), how)
        for name in names
        if config.policy(name) == "explicit" and config.settings(name).versions is None
    ]
