"""Versions that may answer where promotions need approvals: those that were approved, with the files of that time.

Others are loaded, so that they can be shadows and be proposed, and answer no client, be they named or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from modelward.config.schema import Config
from modelward.models.facts import FactsByVersion
from modelward.models.weights import Weights, weights_of
from modelward.problem import Problem
from modelward.repository.refused import Refused

Approved = Mapping[str, Mapping[str, str]]  # model -> version -> digest of its files when it was approved
Waiting = Mapping[str, Collection[str]]  # model -> versions that may not answer

WAITS = "it was not promoted yet, or was taken back, and promotions of this model need approvals"


def is_guarded(config: Config, approved: Approved | None, name: str) -> bool:
    """approved: None until approvals are configured."""
    return approved is not None and config.approvers("promote", name) > 0


def waiting(config: Config, approved: Approved | None, facts: Mapping[str, FactsByVersion]) -> dict[str, list[str]]:
    """Of models that run here, those versions that may not answer: with the files that are open they were not approved.

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
                yield Refused(name, version, (Problem(what, f"model {name} version {version}", why, how),))


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


def only_approved(weights: Weights, out: Waiting, served: Mapping[str, Sequence[str]]) -> Weights:
    """The weights without those of versions that may not answer. Where nothing is left, the newest of the others has
    all; where there are no others, nobody has any. served: ascending."""
    after = dict(weights)
    for name, versions in out.items():
        left = [version for version in served.get(name, ()) if version not in versions]
        shares = {v: share for v, share in weights.get(name, {}).items() if v in left and share}
        if not left:
            after[name] = dict.fromkeys(served.get(name, ()), 0)
        elif name in weights or served[name][-1] in versions:
            after[name] = shares or {left[-1]: 1}
    return after


def refused_of(out: Waiting) -> list[Refused]:
    """As RepositoryIndex tells them."""
    how = "Promote it: modelward promote"
    return [
        Refused(name, version, (Problem(WAITS, f"model {name} version {version}", how=how),))
        for name, versions in out.items()
        for version in versions
    ]


def is_named_anew(config: Config, named: Mapping[str, Mapping[str, int]], name: str) -> bool:
    """Whether `versions:` of the model is another than in `named`, and its change was approved."""
    names = weights_of(config)
    return name in names and names[name] != named.get(name) and config.approvers("reload") > 0


def settled(
    config: Config,
    approved: Approved | None,
    facts: Mapping[str, FactsByVersion],
    answering: Weights,
    named: Mapping[str, Mapping[str, int]],
) -> Approved | None:
    """What counts as approved after a start or a reload. answering: by model the versions that have a share.

    Approvals are new: every version that answers is taken as approved. Later, what another `versions:` than in `named`
    names is, where changes of it need approvals themselves; and where promotions need none, whatever answers.
    """
    if config.approvals is None:
        return None
    after = {} if approved is None else dict(approved)
    for name, known in facts.items():
        shares = {version for version, share in answering.get(name, {}).items() if share and version in known}
        now = {version: known[version].digest for version in known if version in shares}
        before = after.get(name, {})
        if approved is None or not config.approvers("promote", name):
            after[name] = now
        elif is_named_anew(config, named, name):
            after[name] = {**now, **before}
    return after
