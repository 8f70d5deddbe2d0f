"""A proposal: what an operator asked for, what must still be so when it is done, and who agreed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import structs

from modelward.audit.record import ITSELF, Actor
from modelward.records import Struct

Verb = Literal["promote", "rollback", "pardon", "accept", "breaker", "reload", "restart"]
OF_ONE_SERVER = ("pardon", "accept", "restart")
"""Of what one server of a fleet has, and no other: its inputs that are not run, its alarms, its workers."""
State = Literal["open", "executing", "done", "failed", "rejected", "withdrawn", "expired", "void"]


class Parameters(Struct, frozen=True, kw_only=True):
    """What a promotion was asked with, as modelward.promotion.asked.Wanted; force: the reason, empty without; percent:
    the version's share by the promotion under way, when it was proposed and once this is done. And a breaker override,
    as modelward.upstream.breaker_override.BreakerOrder."""

    steps: tuple[int, ...] | None = None
    percent: tuple[int, int] | None = None
    auto: bool = False
    force: str = ""
    without: tuple[str, ...] = ()
    action: Literal["", "open", "close", "auto"] = ""
    endpoint: str = ""
    seconds: float = 0.0


class Approval(Struct, frozen=True, kw_only=True):
    """at: seconds since 1970. signed: by a signature on the configuration file. rights: the approver may change who may
    do what, which it did then."""

    by: Actor
    at: float
    reason: str = ""
    signed: bool = False
    rights: bool = False


class Ask(Struct, frozen=True, kw_only=True):
    """What is asked for. digest: of the version or of the configuration, `sha256:` and digits; empty where there is
    nothing to pin. verdict: on its shadow with the figures, as it was then. diff: of the configuration. cut: the diff
    is not whole, so that nobody approves what they were not shown. files: of the configuration that it changes, as
    modelward.approvals.objections has them, while it is open or executing."""

    verb: Verb
    model: str = ""
    version: str = ""
    digest: str = ""
    reason: str = ""
    parameters: Parameters = Parameters()
    verdict: Mapping[str, Any] | None = None
    diff: tuple[str, ...] = ()
    cut: bool = False
    files: tuple[str, ...] = ()

    def is_as(self, other: Ask) -> bool:
        """It would do the same, whatever reasons are given."""
        return self.essence == other.essence

    @property
    def essence(self) -> tuple[object, ...]:
        """What it would do."""
        does = structs.replace(self.parameters, force="forced" if self.parameters.force else "")
        return self.verb, self.model, self.version, self.digest, does

    @property
    def record(self) -> str:
        """The verb of its records in the audit trail."""
        if self.verb == "breaker":
            return f"breaker.{self.parameters.action}"
        if self.verb == "accept":
            return "drift.accept"
        return "force" if self.parameters.force else self.verb

    @property
    def words(self) -> str:
        asked = self.parameters
        before, after = asked.percent or (0, 0)
        share = f"from {before} to {after} %" if before != after else f"ends at {after} %" if after else ""
        force = "--force" if asked.force else ""
        parts = (self.verb, asked.action, self.model, self.version, asked.endpoint, share, force)
        return " ".join(filter(None, parts))


class Proposal(Struct, frozen=True, kw_only=True):
    """needed: approvals, as the configuration has it. since: when it came into its state. by: who proposed it, or broke
    the glass.

    rules: digest of the settings that say who may propose and approve it, when it was proposed. why: of its end.
    break_glass: it was done without approvals; reviewed: by whom since. rights: as Approval, of who broke the glass.
    on: the server of a fleet at which it was proposed, and once it is approved, which executes it; empty without one.
    """

    number: int
    ask: Ask
    by: Actor
    at: float
    expires: float
    needed: int
    approvals: tuple[Approval, ...] = ()
    state: State = "open"
    since: float
    rules: str = ""
    why: str = ""
    ended_by: str = ""
    break_glass: bool = False
    rights: bool = False
    reviewed: Approval | None = None
    on: str = ""

    @property
    def enough(self) -> int:
        """Approvals that it needs: one more of files that no operator has claimed and no approver has signed, since who
        has changed them may be one of those who approve them."""
        is_of_nobody = (
            self.ask.verb == "reload" and self.by == ITSELF and not any(each.signed for each in self.approvals)
        )
        return self.needed + is_of_nobody

    @property
    def missing(self) -> int:
        """Approvals that it still needs."""
        return max(0, self.enough - len(self.approvals)) if self.state == "open" else 0

    @property
    def approvers(self) -> tuple[str, ...]:
        return tuple(each.by.name for each in self.approvals)

    @property
    def may_change_rights(self) -> bool:
        """Each of those who stand for it may change who may do what. A key in approvals.keys is a right of its own."""
        return self.rights if self.break_glass else all(each.rights or each.signed for each in self.approvals)

    @property
    def is_unreviewed(self) -> bool:
        """Its glass was broken, and no approver has looked at that yet."""
        return self.break_glass and self.reviewed is None

    @property
    def is_over(self) -> bool:
        return self.state not in ("open", "executing")
