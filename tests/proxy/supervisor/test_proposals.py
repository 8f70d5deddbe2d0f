"""What operators propose to a server, and that it is still about the same when it is approved."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from modelward.admin.operator import OperationResult
from modelward.approvals.approved import Approved
from modelward.approvals.book import Book
from modelward.approvals.proposal import Approval, Ask, Parameters, Proposal
from modelward.approvals.proposal import State as State_
from modelward.audit.record import ITSELF, Actor, Record
from modelward.audit.recorder import NoTrail
from modelward.config.schema import Config
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.state import Promotion, State
from modelward.server.report import Report
from modelward.supervisor.proposals import Proposals
from modelward.upstream.breaker_override import BreakerOrder


@pytest.fixture
def promoter() -> Any:
    return SimpleNamespace(state=State())


@pytest.fixture
def proposals(promoter: Any, tmp_path: Path) -> Proposals:
    none: Any = None
    config = Config.model_validate({"state": str(tmp_path)})
    return Proposals(none, promoter, none, none, none, lambda: config, lambda: none)


def test_status_says_why_files_that_lie_there_are_not_followed(tmp_path: Path) -> None:
    none: Any = None
    config = Config.model_validate({"state": str(tmp_path)})
    problem = Problem("nope: unknown key", "modelward.yaml:14")
    configuration: Any = SimpleNamespace(waiting=None, faulty=(problem, problem), taken="")
    proposals = Proposals(none, none, none, none, configuration, lambda: config, lambda: none)
    said = "the configuration that is followed is the one approved last; the files on disk have a problem: "
    assert proposals.waiting_files == f"{said}nope: unknown key, modelward.yaml:14 (and 1 more)"
    assert proposals.told(Report((), (), ())).notes == (proposals.waiting_files,)
    configuration.faulty = ()
    assert (proposals.waiting_files, proposals.told(Report((), (), ())).notes) == ("", ())


def test_signatures_are_taken_once_the_files_are_proposed_and_not_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be seen before: while the reload that has found the files still loads models."""
    told: list[Any] = []
    monkeypatch.setattr("modelward.supervisor.proposals.signed_by", lambda *given: told.append(given[3:]) or ("bob",))
    none: Any = None
    config = Config.model_validate({"state": str(tmp_path)})
    files = SimpleNamespace(places={"configuration": tmp_path / "c.yaml"})
    configuration: Any = SimpleNamespace(waiting=SimpleNamespace(digest="sha256:1", files=files), approved=object())
    proposals = Proposals(none, none, none, none, configuration, lambda: config, lambda: none)
    desk: Any = SimpleNamespace(book=Book(), approve=AsyncMock(), has_approved=lambda proposal, name: False)
    proposals.desk = desk
    asyncio.run(proposals._take_signatures())
    desk.approve.assert_not_awaited()
    ask = Ask(verb="reload", digest="sha256:1")
    desk.book = Book().proposed(ask, ITSELF, 0.0, seconds=9.0, needed=1, person=str)
    for _ in range(2):
        asyncio.run(proposals._take_signatures())
        desk.approve.assert_awaited_once_with(1, Actor(name="bob", proof="signature"), "", signed=True)
    desk.book = desk.book.claimed(1, Actor(name="ada"), 1.0, "")
    asyncio.run(proposals._take_signatures())
    assert told == [(desk.book.objections, False), (desk.book.objections, True)], "again once it is claimed"


def test_who_may_propose_and_approve_is_part_of_a_proposal_of_that_model_only(tmp_path: Path) -> None:
    none: Any = None

    def rules(model: str, **settings: Any) -> str:
        given = {
            "listen": {"admin": "unix:/run/a.sock"},
            "approvals": {"promote": 1},
            "operators": {"bindings": [ada]},
            **settings,
        }
        config = Config.model_validate({"state": str(tmp_path), **given})
        asked = Ask(verb="promote", model=model)
        return Proposals(none, none, none, none, none, lambda: config, lambda: none).rules(asked)

    ada = {"user": 1000, "roles": ["approver"]}
    assert rules("m") == rules("m", models={"other": {"approvals": {"promote": 2}}})
    assert len({
        rules("m"),
        rules("m", approvals={"promote": 2}),
        rules("m", models={"m": {"approvals": {"promote": 2}}}),
        rules("m", operators={"bindings": [{**ada, "roles": ["viewer"]}]}),
    }) == 4  # fmt: skip


def promoted(version: str, phase: Any = "stepping") -> State:
    promotion = Promotion(version=version, before={"1": 1}, configured=None, steps=(100,), since=0.0, phase=phase)
    return State(promotions={"m": promotion})


def test_a_rollback_takes_back_what_was_promoted_when_it_was_proposed(proposals: Proposals, promoter: Any) -> None:
    promoter.state = promoted("2")
    ask = proposals.rollback("m", "incident 8")
    assert (ask.version, asyncio.run(proposals.pinned(ask))) == ("2", "")
    for state in (promoted("3"), promoted("2", "rolled back"), State()):
        promoter.state = state
        with pytest.raises(ProblemsFound, match="by now, and was 2"):
            asyncio.run(proposals.pinned(ask))
    promoter.state = promoted("2", "done")
    assert asyncio.run(proposals.pinned(ask)) == ""


@pytest.mark.parametrize("action", ["open", "auto"])
def test_a_breaker_override_that_was_approved_is_obeyed_and_again_after_a_crash(
    promoter: Any, tmp_path: Path, action: Any
) -> None:
    obeyed: list[tuple[BreakerOrder, str]] = []

    async def obey(order: BreakerOrder, actor: str) -> tuple[()]:
        obeyed.append((order, actor))
        return ()

    server: Any = SimpleNamespace(trail=NoTrail(), breakers=SimpleNamespace(of=lambda model: (), obey=obey))
    none: Any = None
    config = Config.model_validate({"state": str(tmp_path)})
    proposals = Proposals(server, promoter, none, none, none, lambda: config, lambda: none)
    asked = Parameters(action=action, endpoint="up:1", seconds=60.0)
    ask = Ask(verb="breaker", model="m", reason="a test", parameters=asked)
    by, approval = Actor(name="sam"), Approval(by=Actor(name="bob"), at=1.0)
    proposal = Proposal(number=3, ask=ask, by=by, at=0.0, expires=9.0, needed=1, since=1.0, approvals=(approval,))
    asyncio.run(proposals.do(proposal))
    assert obeyed == [(BreakerOrder("m", "up:1", action, 60.0, "a test"), "sam, proposal 3 approved by bob")]
    assert (ask.words, ask.record) == (f"breaker {action} m up:1", f"breaker.{action}")
    assert proposals.was_done(proposal) is (action == "auto"), "overrides end with the server"
    keeper: Any = SimpleNamespace(replica="a")
    proposals.desk.keeper = keeper
    assert not proposals.was_done(proposal), "and not with one of a fleet"


def test_drift_is_accepted_as_it_was_when_it_was_proposed(promoter: Any, tmp_path: Path) -> None:
    done: list[tuple[str, ...]] = []

    async def accept(*told: str) -> list[tuple[str, str]]:
        done.append(told)
        return [("m", "1")]

    drift = SimpleNamespace(pinned=lambda model, version: f"sha256:{model}{version}", accept=accept)
    server: Any = SimpleNamespace(trail=NoTrail(), drift=drift)
    none: Any = None
    config = Config.model_validate({"state": str(tmp_path)})
    proposals = Proposals(server, promoter, none, none, none, lambda: config, lambda: none)
    ask = proposals.accept("m", "1", "a new product")
    assert (ask.digest, ask.words, ask.record) == ("sha256:m1", "accept m 1", "drift.accept")
    drift.pinned = lambda model, version: "sha256:of-a-later-alarm"
    assert asyncio.run(proposals.pinned(ask)) == "sha256:of-a-later-alarm", "with which the proposal is void"
    proposal = Proposal(number=3, ask=ask, by=Actor(name="sam"), at=0.0, expires=9.0, needed=1, since=1.0)
    asyncio.run(proposals.do(proposal))
    ((model, version, actor, pinned),) = done
    assert (model, version, pinned) == ("m", "1", "sha256:m1") and actor.startswith("sam")
    assert not proposals.was_done(proposal), "its alarm stands"


def test_a_rollback_without_a_promotion_is_of_none(proposals: Proposals, promoter: Any) -> None:
    ask = proposals.rollback("m", "")
    assert (ask.version, asyncio.run(proposals.pinned(ask))) == ("", "")
    promoter.state = promoted("2")
    with pytest.raises(ProblemsFound, match="what is promoted is version 2 by now, and was none"):
        asyncio.run(proposals.pinned(ask))


def test_a_rollback_that_is_not_wanted_any_more_when_it_is_executed_is_on_record(promoter: Any, tmp_path: Path) -> None:
    told: list[Record] = []

    class Trail(NoTrail):
        async def confirm(self, record: Record) -> int:
            told.append(record)
            return 7

        async def settle(self, record: Record) -> bool:
            told.append(record)
            return True

    none: Any = None
    status = SimpleNamespace(promotions=(), report=None, weights={})
    server: Any = SimpleNamespace(status=lambda: status, trail=Trail())
    config = Config.model_validate({"state": str(tmp_path)})
    proposals = Proposals(server, promoter, none, none, none, lambda: config, lambda: none)
    promoter.state = promoted("2")
    ask = proposals.rollback("m", "incident 8")
    promoter.state = promoted("3")
    proposal = Proposal(number=1, ask=ask, by=Actor(name="ada"), at=0, since=0, expires=9, needed=1, state="executing")
    with pytest.raises(ProblemsFound, match="by now, and was 2"):
        asyncio.run(proposals.do(proposal))
    assert [(each.verb, each.result, each.of, each.proposal) for each in told] == [
        ("rollback", "asked", None, 1),
        ("rollback", "refused", 7, 1),
    ]


class Files:
    """A configuration of which files wait, and a server that follows them once they are allowed. told: reloads."""

    def __init__(self, digest: str = "sha256:new") -> None:
        files = SimpleNamespace(texts={"configuration": b"new"}, places={}, digest=digest)
        self.waiting: Any = SimpleNamespace(digest=digest, files=files, diff=(), cut=False, config=Config())
        self.approved: Any = Approved(digest="sha256:old", texts={"configuration": "old"})
        self.faulty = ()
        self.allowed: list[tuple[str, bool]] = []
        self.told: list[str] = []
        self.follows = True
        self.trail = NoTrail()

    def status(self) -> Any:
        return SimpleNamespace(promotions=(), report=None, weights={}, generation=1, config="")

    def allow(self, digest: str, *, rights: bool = False) -> None:
        self.allowed.append((digest, rights))

    async def reload(self, actor: str = "", rights: bool = True) -> OperationResult:
        self.told.append(actor)
        if self.follows:
            self.approved = Approved(digest=self.allowed[-1][0])
            self.waiting = None
        return OperationResult()


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def shared(promoter: Any, files: Any, tmp_path: Path) -> Proposals:
    """Of the server b of a fleet. Its book is in memory."""
    none: Any = None
    config = Config.model_validate({"state": str(tmp_path)})
    proposals = Proposals(files, promoter, none, none, files, lambda: config, NoTrail)
    proposals.desk.keeper.replica = "b"
    return proposals


def of_files(rules: str, on: str = "a", state: State_ = "done", digest: str = "sha256:new") -> Proposal:
    ask, bob = Ask(verb="reload", digest=digest), Approval(by=Actor(name="bob"), at=time.time(), rights=True)
    return Proposal(
        number=7, ask=ask, by=ITSELF, at=0.0, expires=1e12, needed=0, since=0.0, rules=rules, on=on, state=state,
        approvals=(bob,) if state != "open" else (),
    )  # fmt: skip


def known(proposals: Proposals, proposal: Proposal) -> None:
    keeper: Any = proposals.desk.keeper
    keeper.book = Book(last=proposal.number, proposals=(proposal,))


def test_files_that_were_approved_on_another_server_are_followed_and_not_proposed_again(
    shared: Proposals, files: Files
) -> None:
    known(shared, of_files(shared.rules(Ask(verb="reload"))))
    assert asyncio.run(shared.follow()) is None
    assert shared.desk.book.last == 7
    asyncio.run(shared._follow_others())
    assert (files.allowed, files.approved.digest) == ([("sha256:new", True), ("", False)], "sha256:new")
    assert files.told == ["modelward, proposal 7 approved by bob"]
    asyncio.run(shared._follow_others())
    assert len(files.told) == 1


def test_files_that_were_approved_elsewhere_by_other_rules_or_are_others_here_are_proposed_here(
    shared: Proposals, files: Files
) -> None:
    for proposal in (of_files("sha256:rules"), of_files(shared.rules(Ask(verb="reload")), digest="sha256:other")):
        known(shared, proposal)
        asyncio.run(shared._follow_others())
        assert files.told == []
        made = asyncio.run(shared.follow())
        assert made is not None
        assert (made.number, made.on, made.ask.digest) == (8, "b", "sha256:new")


def test_approved_files_that_this_server_cannot_follow_are_tried_once(shared: Proposals, files: Files) -> None:
    known(shared, of_files(shared.rules(Ask(verb="reload"))))
    files.follows = False
    for _ in range(3):
        asyncio.run(shared._follow_others())
    assert len(files.told) == 1
    shared.desk.keeper.replica = ""
    shared._followed = 0
    asyncio.run(shared._follow_others())
    assert len(files.told) == 1, "a server that is alone follows what it has approved itself"


@pytest.mark.parametrize(("on", "digest", "ends"), [
    ("a", "sha256:other", "open"), ("b", "sha256:other", "void"), ("b", "sha256:old", "open"),
])  # fmt: skip
def test_only_the_server_that_has_proposed_files_ends_that_once_it_has_others(
    shared: Proposals, on: str, digest: str, ends: str
) -> None:
    known(shared, of_files(shared.rules(Ask(verb="reload")), on=on, state="open", digest=digest))
    made = asyncio.run(shared.follow())
    assert made is not None and made.number == 8
    assert shared.desk.book.find(7).state == ends


def test_where_another_server_proposes_the_same_files_first_that_is_the_proposal(
    shared: Proposals, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = of_files(shared.rules(Ask(verb="reload")), state="open")

    async def too_late(*_: object) -> Proposal:
        known(shared, theirs)
        raise ProblemsFound([Problem("it asks for the same and is open", "proposal 7")])

    monkeypatch.setattr(shared.desk, "propose", too_late)
    assert asyncio.run(shared.follow()) == theirs
