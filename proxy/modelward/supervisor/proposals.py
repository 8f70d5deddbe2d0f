"""What operators may propose to this server, and how that is executed once others have agreed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from modelward.admin.operator import NotNow, Operator
from modelward.admin.recorded import Recorded
from modelward.approvals.configuration import Configuration, signed_by
from modelward.approvals.desk import Desk
from modelward.approvals.elsewhere import agreed
from modelward.approvals.objections import changed
from modelward.approvals.proposal import Ask, Parameters, Proposal
from modelward.approvals.rules import rules_of
from modelward.approvals.store import Store
from modelward.approvals.words import notes as notes_of
from modelward.approvals.words import words as words_of
from modelward.audit.record import ITSELF, Actor
from modelward.audit.recorder import Recorder
from modelward.config.approvals import Approvals, ApprovedVerb
from modelward.config.schema import Config
from modelward.config.settings_files import signatures_of
from modelward.config.state_folder import state_folder
from modelward.config.units import SECOND
from modelward.fingerprint import fingerprint
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.asked import PromotedServer, Wanted, digest_of, steps_of
from modelward.promotion.notes import named_of, not_covered, uncovered
from modelward.promotion.promoter import Promoter
from modelward.server.report import Report
from modelward.supervisor.asked_of import order_of, wanted_of
from modelward.supervisor.shadow_verdicts import ShadowVerdicts
from modelward.telemetry.snapshot import ApprovalsSnapshot
from modelward.upstream.breaker_override import BreakerOrder

TOLD = ("verdict", "primary", "shadow", "pairs", "more_pairs", "bounds", "failures", "latency_ms", "dropped")
"""Of a report on a shadow, what a proposal keeps."""
LOOK_SECONDS = 1.0
WATCHED = "the files have changed"

log = logging.getLogger("modelward.approvals")


class Proposals:
    """Of one server. desk: where they are approved. configuration: which files are followed."""

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
        self._server = server
        self._promoter = promoter
        self._serving = serving
        self._shadows = shadows
        self._configuration = configuration
        self._config = config
        self._following = asyncio.Lock()
        self._signatures: object = None  # as they were looked at last
        self._followed = 0  # proposal of another server that was followed here last, or could not be
        store = Store(state_folder(config().state))
        self.desk = Desk(store, self, lambda: config().approvals or Approvals.default(), recorder)

    async def run(self) -> None:
        """Once the server has started, and for ever: finishes what was executing, then looks after all that waits."""
        try:
            await self.desk.resume()
            await self.follow()
        except Exception:
            log.exception("proposals could not be resumed")
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.desk.look()
                await self._take_signatures()
                await self._follow_others()
            except Exception:
                log.exception("a look at proposals failed")

    def told(self, report: Report) -> Report:
        """With what there is to say in READY."""
        config = self._config()
        if said := words_of(config):
            report = report.with_guard("approvals", said)
        waiting = self._configuration.waiting
        wait = "the configuration that is followed is the one approved last; the files wait: modelward proposals"
        faulty = self._faulty
        told = (*((wait,) if waiting is not None else ()), *((faulty,) if faulty else ()))
        if taken := self._configuration.taken:
            told += (f"the configuration is taken as approved, since none was before: {taken}",)
        return report.with_notes((*map(str, notes_of(config)), *told))

    @property
    def words(self) -> str:
        unreviewed = [str(each.number) for each in self.desk.book.unreviewed]
        glass = f"broken glass is not reviewed: proposal {', '.join(unreviewed)}" if unreviewed else ""
        open_ = not_covered(uncovered(self._serving, self._promoter.state))
        return "; ".join(filter(None, (words_of(self._config()), open_, glass)))

    @property
    def waiting_files(self) -> str:
        waiting = self._configuration.waiting
        if waiting is None:
            return self._faulty
        about = [each for each in self.desk.book.proposals if each.ask.digest == waiting.digest]
        if not about:
            return "the files on disk are not what is served, and not proposed yet"
        number, state = about[-1].number, about[-1].state
        if not about[-1].is_over:
            return f"the files on disk are not what is served: they wait for proposal {number}"
        return f"the files on disk are not what is served: proposal {number} is {state}; modelward reload proposes them"

    @property
    def _faulty(self) -> str:
        """Why nobody can approve the files that lie there; empty where they are no problem."""
        if not (problems := self._configuration.faulty):
            return ""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        found = f"{problems[0].what}, {problems[0].where}{more}"
        return f"the configuration that is followed is the one approved last; the files on disk have a problem: {found}"

    def stats(self) -> ApprovalsSnapshot | None:
        """None where nothing needs approvals, and nothing waits for a review."""
        book = self.desk.book
        if self._config().approvals is None and not book.unreviewed:
            return None
        return ApprovalsSnapshot(len(book.open), len(book.unreviewed), self.desk.failures)

    def needed(self, verb: ApprovedVerb, model: str = "") -> int:
        return self._config().approvers(verb, model)

    # ---- what is proposed. All raise ProblemsFound where it would be refused anyway

    async def promotion(self, wanted: Wanted) -> Ask:
        now = self._promoter.check(wanted)
        steps = wanted.steps if now is not None else steps_of(self._serving, wanted)  # the configuration's may change
        wanted = replace(wanted, steps=steps)
        return Ask(
            verb="promote",
            model=wanted.model,
            version=wanted.version,
            digest=digest_of(self._serving, wanted.model, wanted.version),
            reason=wanted.reason,
            parameters=Parameters(
                steps=wanted.steps,
                percent=self._promoter.percent(wanted),
                auto=wanted.auto,
                force=wanted.force,
                without=wanted.without,
            ),
            verdict=await self._verdict(wanted.model, wanted.version),
        )

    def rollback(self, model: str, reason: str) -> Ask:
        """Of the version that is promoted now, and no later one."""
        return Ask(verb="rollback", model=model, version=self._promoted(model), reason=reason)

    @staticmethod
    def pardon(model: str, version: str, reason: str) -> Ask:
        return Ask(verb="pardon", model=model, version=version, reason=reason)

    def accept(self, model: str, version: str, reason: str) -> Ask:
        """Of the alarms that stand now, and no later ones."""
        pinned = self._server.drift.pinned(model, version)
        return Ask(verb="accept", model=model, version=version, digest=pinned, reason=reason)

    @staticmethod
    def breaker(order: BreakerOrder) -> Ask:
        asked = Parameters(action=order.action, endpoint=order.endpoint, seconds=order.seconds)
        return Ask(verb="breaker", model=order.model, reason=order.reason, parameters=asked)

    @staticmethod
    def restart(reason: str) -> Ask:
        return Ask(verb="restart", reason=reason)

    async def follow(self, *, asked: bool = False) -> Proposal | None:
        """The proposal of files that wait, which is made where there is none yet; those of other files are void.

        asked: by an operator, who may propose again what was rejected or has expired."""
        async with self._following:  # reloads end at the same time
            return await self._follow(asked=asked)

    async def _follow(self, *, asked: bool) -> Proposal | None:
        waiting, approved, found = self._configuration.waiting, self._configuration.approved, None
        for each in self.desk.book.open:
            if each.ask.verb != "reload":
                continue
            if waiting is not None and each.ask.digest == waiting.digest:
                found = each
            elif self.desk.execution.is_for(each) and (each.ask.digest != self._approved or not self._shares):
                await self.desk.void(each.number, "the files of the configuration have changed again")
        if waiting is None or found is not None or not (asked or self.desk.book.of_files(waiting.digest) is None):
            return found
        if self._agreed_elsewhere() is not None:  # and is followed at the next look
            return None
        diff = (*named_of(waiting.config, self._promoter.state, self._config()), *waiting.diff)
        files = changed(approved.data, waiting.files.texts) if approved is not None else ()
        ask = Ask(verb="reload", digest=waiting.digest, reason=WATCHED, diff=diff, cut=waiting.cut, files=files)
        try:
            return await self.desk.propose(ask, ITSELF, self.needed("reload"))
        except ProblemsFound:
            same = [each for each in self.desk.book.open if each.ask.verb == "reload" and each.ask.digest == ask.digest]
            if not (self._shares and same):  # another server of the fleet was first
                raise
            return same[0]

    async def claimed(self, proposal: Proposal, by: Actor, reason: str) -> Proposal:
        """As this operator's, where it is no other's yet and nobody has approved it."""
        if proposal.by != ITSELF or proposal.approvals:
            return proposal
        return await self.desk.claim(proposal.number, by, reason)

    # ---- what the desk asks for (modelward.approvals.desk.Acts)

    async def pinned(self, ask: Ask) -> str:
        if ask.verb == "promote":
            self._promoter.check(wanted_of(ask))
            return digest_of(self._serving, ask.model, ask.version)
        if ask.verb == "reload":
            return await asyncio.get_running_loop().run_in_executor(None, self._configuration.digest)
        if ask.verb == "accept":
            return self._server.drift.pinned(ask.model, ask.version)
        if ask.verb == "rollback":
            self._check_promoted(ask)
        return ""

    async def rights(self, ask: Ask) -> list[str]:
        if ask.verb != "reload":
            return []
        return await asyncio.get_running_loop().run_in_executor(None, self._configuration.rights, ask.digest)

    def rules(self, ask: Ask) -> str:
        return rules_of(self._config(), ask)

    def was_done(self, proposal: Proposal) -> bool:
        match proposal.ask.verb:
            case "promote" | "rollback":
                on = proposal.on or self._promoter.fleet.replica
                return self._promoter.state.executed(proposal.number, proposal.since, on)
            case "reload":
                return self._approved == proposal.ask.digest
            case "breaker":  # overrides end with the process, and in a fleet they do not
                return proposal.ask.parameters.action == "auto" and not self._shares
            case "accept":  # where it was not, its alarm stands
                return False
        return True  # of a server that has started since, the workers are new and nothing is contained

    async def do(self, proposal: Proposal) -> None:
        try:
            await self._do(proposal)
        except NotNow as why:
            raise ProblemsFound(
                [Problem("it cannot be executed now", f"proposal {proposal.number}", str(why))]
            ) from why

    async def _do(self, proposal: Proposal) -> None:
        ask, actor = proposal.ask, words(proposal)
        server = Recorded(self._server, proposal.by, **self._marks(proposal))
        match ask.verb:
            case "promote":
                await server.promote(replace(wanted_of(ask), actor=actor, proposal=proposal.number, digest=ask.digest))
            case "rollback":
                await server.rollback(ask.model, ask.reason, actor, partial(self._check_promoted, ask))
            case "pardon":
                await server.pardon(ask.model, ask.version or None, actor)
            case "accept":
                await server.accept(ask.model, ask.version, actor, ask.digest)
            case "breaker":
                await server.breaker(order_of(ask), actor)
            case "restart":
                if problems := (await server.restart(lambda worker: None, actor)).problems:
                    raise ProblemsFound(problems)
            case "reload":
                await self._reload(server, proposal, actor)

    @staticmethod
    def _marks(proposal: Proposal) -> dict[str, Any]:
        ask = proposal.ask
        marks = {"proposal": proposal.number, "approvals": proposal.approvers, "break_glass": proposal.break_glass}
        if ask.verb in ("pardon", "accept", "restart", "reload"):  # the others have the reason
            marks |= {"reason": ask.reason, "digest": ask.digest}
        return marks

    async def _reload(self, server: Recorded, proposal: Proposal, actor: str) -> None:
        """Approved files that are followed in part are approved; a file that was changed since is not followed."""
        ask = proposal.ask
        self._configuration.allow(ask.digest, rights=proposal.may_change_rights)
        try:
            result = await server.reload(actor)
        finally:
            self._configuration.allow("")
        if self._approved != ask.digest:
            what = "the files have been changed since they were approved"
            raise ProblemsFound(result.problems or [Problem(what, "configuration", how="Look at the next proposal")])

    # ---- how

    def _promoted(self, model: str) -> str:
        """The version whose promotion can be taken back; empty where none was promoted."""
        last = self._promoter.state.promotions.get(model)
        return last.version if last is not None and last.phase != "rolled back" else ""

    def _check_promoted(self, ask: Ask) -> None:
        now = self._promoted(ask.model)
        if now != ask.version:
            what = f"what is promoted is {f'version {now}' if now else 'none'} by now, and was {ask.version or 'none'}"
            raise ProblemsFound([Problem(what, f"model {ask.model}", how="Propose it again if it is still wanted")])

    async def _take_signatures(self) -> None:
        """Approvers who have signed the files that wait approve them so."""
        waiting, approved = self._configuration.waiting, self._configuration.approved
        if waiting is None or approved is None:
            return
        last = self.desk.book.of_files(waiting.digest)
        if last is None or last.state != "open":  # they are proposed at the end of the reload that has found them
            return
        asked = last.by != ITSELF
        seen = (last.number, asked, waiting.digest, fingerprint(map(signatures_of, waiting.files.places.values())))
        if seen == self._signatures:
            return
        self._signatures = seen
        loop = asyncio.get_running_loop()
        names = await loop.run_in_executor(
            None, signed_by, waiting.files, approved, self._config(), self.desk.book.objections, asked
        )
        for name in names:
            now = self.desk.book.find(last.number)
            if now.state == "open" and not self.desk.has_approved(now, name):
                await self._sign(last.number, name)

    async def _sign(self, number: int, name: str) -> None:
        try:
            await self.desk.approve(number, Actor(name=name, proof="signature"), "", signed=True)
        except ProblemsFound as found:
            log.warning("proposal %d: the signature of %s does not approve it: %s", number, name, found)

    @property
    def _shares(self) -> bool:
        """Whether proposals are those of a fleet."""
        return bool(self.desk.keeper.replica)

    async def _follow_others(self) -> None:
        """Files that were approved on another server of the fleet are approved here, where they lie here too."""
        proposal = self._agreed_elsewhere()
        if proposal is None or proposal.number == self._followed:
            return
        self._followed = proposal.number
        try:
            actor, marks = words(proposal), self._marks(proposal)
            await self._reload(Recorded(self._server, proposal.by, **marks), proposal, actor)
        except NotNow as why:
            log.info("proposal %d is followed later: %s", proposal.number, why)
            self._followed = 0
        except ProblemsFound as found:
            log.error("proposal %d was approved on another server, and is not followed: %s", proposal.number, found)

    def _agreed_elsewhere(self) -> Proposal | None:
        """The proposal of the files that wait. Not where this server would have asked others."""
        waiting, approved = self._configuration.waiting, self._configuration.approved
        if not self._shares or waiting is None or approved is None:
            return None
        life = (self._config().approvals or Approvals.default()).expire / SECOND
        replica = self.desk.keeper.replica
        last = agreed(self.desk.book, waiting, approved, time.time(), life=life, replica=replica)
        return last if last is not None and last.rules == self.rules(last.ask) else None

    @property
    def _approved(self) -> str:
        approved = self._configuration.approved
        return approved.digest if approved is not None else ""

    async def _verdict(self, model: str, version: str) -> Mapping[str, Any] | None:
        try:
            reports = await self._shadows.told(model)
        except ProblemsFound:  # it has no shadow
            return None
        report = next((each for each in reports if each["shadow"] == version), None)
        return {key: report[key] for key in TOLD} if report is not None else None


def words(proposal: Proposal) -> str:
    """Who does it, as events tell it."""
    glass = "by breaking the glass" if proposal.break_glass else f"approved by {', '.join(proposal.approvers)}"
    return f"{proposal.by.name}, proposal {proposal.number} {glass}"[:200]
