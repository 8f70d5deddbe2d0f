"""What there is to say of approvals before any is given: for READY and `check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelward.approvals import approver
from modelward.config.approvals import ApprovedVerb
from modelward.config.named_files import named_files
from modelward.config.operators import Binding
from modelward.config.schema import Config
from modelward.plural import counted
from modelward.problem import Problem

VERBS: tuple[ApprovedVerb, ...] = ("promote", "force", "rollback", "pardon", "accept", "breaker", "reload", "restart")

MOST_KEYS = 5  # that a note lists
MOST_FILES = 32


def words(config: Config) -> str:
    """How many must agree to what; empty without approvals."""
    if config.approvals is None:
        return ""
    counts = {verb: config.approvers(verb) for verb in VERBS}
    needed = ", ".join(f"{verb} {count}" for verb, count in counts.items() if count)
    own = [name for name, settings in config.models.items() if settings.approvals is not None]
    other = f"; others for {len(own)} model{'s' if len(own) > 1 else ''}" if own else ""
    return f"{needed or 'none'}{other}"


def notes(config: Config) -> Iterator[Problem]:
    """What is probably not meant so."""
    approvals = config.approvals
    if approvals is None:
        return
    promotes = [name for name in ("", *config.models) if config.approvers("promote", name)]
    if promotes and not approvals.reload:
        why = "who writes the file or a model.yaml can turn guards off, and send a model to other upstreams"
        how = "Set approvals.reload to 1, or let others review what is written there"
        yield Problem("promotions need approvals, and the configuration does not", "approvals.reload", why, how)
    if approvals.reload and (keys := [each.key for each in named_files(config)]):
        what = "files that the configuration names change without an approval"
        more = f" and {len(keys) - MOST_FILES} more" if len(keys) > MOST_FILES else ""
        why = f"{', '.join(keys[:MOST_FILES])}{more}"
        how = "Let only administrators write these files"
        yield Problem(what, "approvals.reload", why, how)
    able, counting = approver.bindings(config), approver.keys(config)
    if unknown := [name for name in approvals.keys if name not in counting]:
        what = f"the signature of {', '.join(unknown[:MOST_KEYS])} does not count"
        why = "no binding gives this name the role approver for all models"
        how = "Name the key as modelward whoami names its owner, add it to approvals.people, or remove it"
        yield Problem(what, "approvals.keys", why, how)
    if doubtful := approver.of_groups(config):
        what = f"whether {', '.join(doubtful[:MOST_KEYS])} may still approve cannot be told by a signature"
        why = "only the binding of a group gives the role approver, and a signature does not tell its signer's groups"
        how = "Give the role to a binding of each name, or remove the key of who leaves the group"
        yield Problem(what, "approvals.keys", why, how)
    yield from _too_few(config, able)


def _too_few(config: Config, able: Sequence[Binding]) -> Iterator[Problem]:
    """What needs more approvals than there are people who may approve, as far as bindings tell who that is."""
    approvals = config.approvals
    assert approvals is not None
    if not able:
        if any(config.approvers(verb, name) for verb in VERBS for name in ("", *config.models)):
            how = "Add the role approver to a binding of operators.bindings"
            yield Problem("nobody can approve anything", "operators.bindings", how=how)
        return
    names = [str(getattr(each, each.kind)) for each in able]
    if any(each.kind == "group" for each in able) or any("*" in name for name in names):
        return
    people = {approvals.person(name) for name in names}
    how = "Ask for fewer, or add the role approver to more bindings of operators.bindings"
    for verb in VERBS:
        most = max(config.approvers(verb, name) for name in ("", *config.models))
        if most > len(people):
            what = f"{verb} needs {counted(most, 'approval')}, and only {len(people)} can approve"
            yield Problem(what, f"approvals.{verb}", how=how)
