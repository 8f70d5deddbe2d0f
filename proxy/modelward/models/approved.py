"""Versions that may answer where promotions need approvals: those that were approved, with the files of that time.

Others are loaded, so that they can be shadows and be proposed, and answer no client, be they named or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from modelward.config.schema import Config
from modelward.models.facts import FactsByVersion
from modelward.models.weights import Shares, Weights, overridden, primary
from modelward.problem import Problem
from modelward.repository.refused import Refused

Approved = Mapping[str, Mapping[str, str]]  # model -> version -> digest of its files when it was approved
Waiting = Mapping[str, Collection[str]]  # model -> versions that may not answer

WAITS = "it was not promoted yet, or was taken back, and promotions of this model need approvals"
LEFT = "the version that should answer is not there, and no other may in its place"


def is_guarded(config: Config, approved: Approved | None, name: str) -> bool:
    """approved: None until approvals are configured."""
    return approved is not None and config.approvers("promote", name) > 0


def was_covered(config: Config, approved: Approved | None, name: str) -> bool:
    """Of a model whose upstreams tell no versions now: whether they did, and some were approved or waited. None answers
    until they do again, but for a signature that the configuration declares."""
    return name in (approved or {}) and is_guarded(config, approved, name) and config.settings(name).signature is None


def waiting(config: Config, approved: Approved | None, facts: Mapping[str, FactsByVersion]) -> dict[str, list[str]]:
    """Versions that may not answer: with the files that are open they were not approved. Those of upstreams are
    approved by name, since their files are out of reach.

    Files may change while an approval is on its way to the process that has them open. facts: of what is open.
    """
    found = {
        name: [version for version in known if (approved or {}).get(name, {}).get(version) != known[version].digest]
        for name, known in facts.items()
        if is_guarded(config, approved, name)
    }
    return {name: there for name, there in found.items() if there}


def changed(config: Config, approved: Approved | None, facts: Mapping[str, FactsByVersion]) -> Iterator[Refused]:
    """Approved versions whose files are others by now."""
    for name, known in facts.items():
        if not is_guarded(config, approved, name):
            continue
        for version, digest in (approved or {}).get(name, {}).items():
            if version in known and known[version].digest != digest:
                what, why = (
                    "its files are others than those that were approved",
                    f"{known[version].digest}, not {digest}",
                )
                how = "Put them back, or put the new ones beside them as another version, and promote that"
                problem = Problem(what, f"model {name} version {version}", why, how)
                yield Refused(name, version, (problem,), barred=True)


def removed(
    config: Config,
    approved: Approved | None,
    facts: Mapping[str, FactsByVersion],
    shares: Weights,
    there: Mapping[str, Collection[str]],
) -> Iterator[Refused]:
    """Approved versions with a share whose files are gone, while the repository has others of the model.

    facts: of what is open. there: versions in the repository by model, "" for a model that is refused as a whole.
    """
    out = waiting(config, approved, facts)
    for name, known in facts.items():
        if not is_guarded(config, approved, name) or "" in there.get(name, ("",)):
            continue
        for version in known:
            if shares.get(name, {}).get(version) and version not in (*there[name], *out.get(name, ())):
                what, how = "its files are gone, and it answers", "Promote another version before you remove it"
                yield Refused(name, version, (Problem(what, f"model {name} version {version}", how=how),))


def written(config: Config, approved: Approved | None, name: str) -> dict[str, int] | None:
    """Shares that `versions:` gives; where promotions need approvals, to versions that were approved, and None where it
    names none of these."""
    versions = config.settings(name).versions
    if versions is None or approved is None or not is_guarded(config, approved, name):
        return None if versions is None else dict(versions)
    known = approved.get(name, {})
    return {version: share for version, share in versions.items() if share and version in known} or None


def unapproved(config: Config, approved: Approved | None, name: str) -> list[str]:
    """Versions that `versions:` gives a share, and that have none before a promotion."""
    if not is_guarded(config, approved, name):
        return []
    known = (approved or {}).get(name, {})
    return [
        version for version, share in (config.settings(name).versions or {}).items() if share and version not in known
    ]


def due(config: Config, approved: Approved, shares: Shares, name: str) -> dict[str, int]:
    """Approved shares of a guarded model's versions, be their files there or not. shares: decided by promotions."""
    given = shares.get(name) or written(config, approved, name) or {}
    return {version: share for version, share in given.items() if share and version in approved.get(name, {})}


def admitted(
    config: Config,
    approved: Approved | None,
    shares: Shares,
    facts: Mapping[str, FactsByVersion],
    served: Mapping[str, Sequence[str]],
) -> tuple[Weights, dict[str, list[str]]]:
    """Shares of versions by model, and versions that may not answer. shares: decided by promotions. facts: of what is
    open. served: ascending.

    No share goes to a version that was not approved for it: where that of a guarded model with the largest share is not
    there, no version of the model answers. None does either where none of those with a share is there, as upstreams may
    come without them.
    """
    weights, out = overridden(config, shares, served), waiting(config, approved, facts)
    for name in served:
        if name not in facts and was_covered(config, approved, name):
            weights[name], out[name] = dict.fromkeys(served[name], 0), [*served[name]]
    for name in facts:
        if approved is None or not is_guarded(config, approved, name):
            if name in weights and not any(map(weights[name].get, served[name])):
                weights[name], out[name] = dict.fromkeys(served[name], 0), [*served[name]]
            continue
        able = [version for version in served[name] if version not in out.get(name, ())]
        wanted = due(config, approved, shares, name)
        if first_of(wanted) in able:
            weights[name] = {version: share for version, share in wanted.items() if version in able}
        else:
            weights[name], out[name] = dict.fromkeys(served[name], 0), [*served[name]]
    return weights, out


def first_of(wanted: Mapping[str, int]) -> str:
    """The version of most weight; empty where there is none."""
    return primary(sorted(wanted, key=lambda version: (len(version), version)), wanted) if wanted else ""


def refused_of(out: Waiting, waits: Waiting) -> list[Refused]:
    """As RepositoryIndex tells them. waits: those of `out` that were not approved."""
    found = []
    for name, versions in out.items():
        for version in versions:
            what = WAITS if version in waits.get(name, ()) else LEFT
            problem = Problem(what, f"model {name} version {version}", how="Promote it: modelward promote")
            found.append(Refused(name, version, (problem,)))
    return found


def settled(
    config: Config, approved: Approved | None, facts: Mapping[str, FactsByVersion], answering: Weights
) -> Approved | None:
    """What counts as approved after a start or a reload. answering: by model the versions that have a share.

    Approvals are new: every version that answers is taken as approved. Later, where promotions need none, whatever
    answers. A model whose versions all wait has an entry without any (was_covered).
    """
    if config.approvals is None:
        return None
    after = {} if approved is None else dict(approved)
    for name, known in facts.items():
        if approved is None or not config.approvers("promote", name):
            shares = answering.get(name, {})
            after[name] = {version: known[version].digest for version in known if shares.get(version)}
        else:
            after.setdefault(name, {})
    return after
