"""What needs the approval of others. The modules that this takes are loaded where something needs one, or has needed
one before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelward.admin.operator import Operator
from modelward.approvals import FILE
from modelward.approvals.configuration import Configuration
from modelward.audit.record import Actor
from modelward.audit.recorder import Recorder
from modelward.config.approvals import ApprovedVerb
from modelward.config.schema import Config
from modelward.config.state_folder import state_folder
from modelward.promotion.asked import PromotedServer, Wanted
from modelward.promotion.promoter import Promoter
from modelward.server.report import Report
from modelward.supervisor.shadow_verdicts import ShadowVerdicts
from modelward.telemetry.snapshot import ApprovalsSnapshot
from modelward.upstream.breaker_override import BreakerOrder

if TYPE_CHECKING:
    from modelward.approvals.desk import Desk
    from modelward.approvals.proposal import Ask, Proposal
    from modelward.fleet.member import Member
    from modelward.supervisor.proposals import Proposals

LOOK_SECONDS = 1.0


class FourEyes:
    """Of one server; see modelward.supervisor.proposals, whose methods these are."""

    def __init__(  # noqa: PLR0917 - parts of the supervisor
        self,
        server: Operator,
        promoter: Promoter,
        serving: PromotedServer,
        shadows: ShadowVerdicts,
        configuration: Configuration,
        config: Callable[[], Config],
        recorder: Callable[[], Recorder],
    ) -> None:
        self._parts = server, promoter, serving, shadows, configuration, config, recorder
        self._config = config
        self._file = state_folder(config().state) / FILE
        self._made: Proposals | None = None
        self._member: Member | None = None

    def load(self) -> None:
        """What was kept. Raises ProblemsFound."""
        if self._config().approvals is not None or self._file.exists() or self._file.is_symlink():
            self._proposals.desk.load()

    def join(self, member: Member) -> None:
        """The fleet's proposals take the place of this server's. Raises ProblemsFound."""
        self._member = member
        if self._made is not None:
            self._share(self._made)

    def _share(self, made: Proposals) -> None:
        if self._member is None:
            return
        from modelward.approvals.shared import SharedBook  # noqa: PLC0415 - only where there is a fleet

        shared = SharedBook(self._member, made.desk.store, made.desk.book)
        made.desk.keeper = shared
        self._member.parts.append(shared)

    def outcome(self, asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Of what people had asked for when the server ended; as modelward.audit.unanswered.Tell."""
        if self._made is None:
            from modelward.audit.unanswered import UNKNOWN  # noqa: PLC0415 - only where there is a trail

            return UNKNOWN
        from modelward.approvals.outcome import outcome_of  # noqa: PLC0415 - see above

        return outcome_of(self._made.desk.book, asked, shared=self._config().fleet is not None)

    @property
    def desk(self) -> Desk:
        return self._proposals.desk

    async def run(self) -> None:
        """Once the server has started, and for ever."""
        while self._made is None and self._config().approvals is None:
            await asyncio.sleep(LOOK_SECONDS)
        await self._proposals.run()

    def told(self, report: Report) -> Report:
        return self._made.told(report) if self._made is not None else report

    @property
    def waiting(self) -> list[str]:
        """Models of the open proposals; empty for what concerns the whole server."""
        return [each.ask.model for each in self._made.desk.book.open] if self._made is not None else []

    @property
    def words(self) -> str:
        """What approvals are needed, and what waits for a review; empty without either."""
        return self._made.words if self._made is not None else ""

    @property
    def waiting_files(self) -> str:
        """What waits of the configuration on disk; empty where it is what is followed."""
        return self._made.waiting_files if self._made is not None else ""

    def stats(self) -> ApprovalsSnapshot | None:
        return self._made.stats() if self._made is not None else None

    def needed(self, verb: ApprovedVerb, model: str = "") -> int:
        return self._config().approvers(verb, model)

    async def promotion(self, wanted: Wanted) -> Ask:
        return await self._proposals.promotion(wanted)

    def rollback(self, model: str, reason: str) -> Ask:
        return self._proposals.rollback(model, reason)

    def pardon(self, model: str, version: str, reason: str) -> Ask:
        return self._proposals.pardon(model, version, reason)

    def accept(self, model: str, version: str, reason: str) -> Ask:
        return self._proposals.accept(model, version, reason)

    def breaker(self, order: BreakerOrder) -> Ask:
        return self._proposals.breaker(order)

    def restart(self, reason: str) -> Ask:
        return self._proposals.restart(reason)

    async def follow(self, *, asked: bool = False) -> Proposal | None:
        if self._made is None and self._config().approvals is None:
            return None
        return await self._proposals.follow(asked=asked)

    async def claimed(self, proposal: Proposal, by: Actor, reason: str) -> Proposal:
        return await self._proposals.claimed(proposal, by, reason)

    @property
    def _proposals(self) -> Proposals:
        if self._made is None:
            from modelward.supervisor.proposals import Proposals  # noqa: PLC0415 - see above

            self._made = Proposals(*self._parts)
            self._share(self._made)
        return self._made
