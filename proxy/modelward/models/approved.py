"""Versions that may answer where promotions need approvals: those that were approved, with the files of that time.

Others are loaded, so that they can be shadows and be proposed, and answer no client, be they named or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from modelward.config.schema import Config
from modelward.models.facts import FactsByVersion
from modelward.models.weights import Weights
from modelward.problem import Problem
from modelward.repository.refused import Refused

Approved = Mapping[str, Mapping[str, str]]  # model -> version -> digest of its files when it was approved
Waiting = Mapping[str, Collection[str]]  # model -> versions that may not answer

WAITS = "it was not promoted yet, and promotions of this model need approvals"


def is_guarded(config: Config, approved: Approved | None, name: str) -> bool:
    """approved: None until approvals are configured."""
    return approved is not None and config.approvers("promote", name) > 0


def waiting(config: Config, approved: Approved | None, versions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Of models that run here, those versions that may not answer. versions: by model."""
    found = {
        name: [version for version in there if version not in (approved or {}).get(name, {})]
        for name, there in versions.items()
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
                what = f"its files are others than those that were approved: {known[version].digest}"
                how = "Put them back, or put the new ones beside them as another version, and promote that"
                yield Refused(name, version, (Problem(what, f"model {name} version {version}", digest, how),))


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


def settled(
    config: Config, approved: Approved | None, facts: Mapping[str, FactsByVersion], answering: Weights
) -> Approved | None:
    """What counts as approved after a start or a reload. answering: by model the versions that have a share.

    Approvals are new: every version that answers is taken as approved. Later, what `versions:` of the configuration
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
        elif config.settings(name).versions is not None and config.approvers("reload"):
            after[name] = {**now, **before}
    return after
