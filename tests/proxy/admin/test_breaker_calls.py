"""Breaker overrides, asked for over the admin API."""

from types import SimpleNamespace

import grpc
import pytest

from modelward.admin.limit_calls import MOST_SECONDS
from modelward.approvals.book import Book
from modelward.approvals.proposal import Ask, Proposal
from modelward.audit.record import Actor
from modelward.supervisor.proposals import Proposals
from tests.proxy.admin.test_server import BROKEN, Played, code_of, method, talk

GOOD = {"model": "a", "endpoint": "up:1", "action": "open", "seconds": 60.0, "reason": "a reason"}


def test_a_breaker_is_held_as_it_was_asked_for() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        answer = await method(channel, "OverrideBreaker")(**GOOD)
        (order,) = operator.breakers.orders
        assert (order.model, order.endpoint, order.action, order.seconds, order.reason) == (
            "a",
            "up:1",
            "open",
            60.0,
            "a reason",
        )
        (told,) = answer.overrides
        assert (told.model, told.endpoint, told.state, told.until, told.by) == ("a", "up:1", "open", 60.0, "bob")
        await method(channel, "OverrideBreaker")(model="a", action="auto")
        assert operator.breakers.orders[1].action == "auto"

    talk(test)


def test_where_others_must_approve_it_it_becomes_a_proposal_and_nothing_changes() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        desk = Desk()
        operator.proposals = SimpleNamespace(
            needed=lambda verb, model="": int(verb == "breaker"), desk=desk, breaker=Proposals.breaker
        )
        answer = await method(channel, "OverrideBreaker")(**GOOD)
        proposed = answer.proposal
        assert (proposed.number, proposed.verb, proposed.model, proposed.action) == (1, "breaker", "a", "open")
        assert (proposed.endpoint, proposed.seconds, proposed.reason) == ("up:1", 60.0, "a reason")
        (problem,) = (await method(channel, "OverrideBreaker")(**GOOD | {"endpoint": "unknown:1"})).problems
        assert (problem.what, desk.book.last) == (BROKEN.what, 1), "what would be refused anyway is not proposed"
        assert operator.breakers.orders == []

    talk(test)


class Desk:
    """Where the proposals of a played operator are made."""

    def __init__(self) -> None:
        self.book = Book()

    async def propose(self, ask: Ask, by: Actor, needed: int) -> Proposal:
        self.book = self.book.proposed(ask, by, 0.0, seconds=9.0, needed=needed, person=str)
        return self.book.proposals[-1]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"seconds": 0.0}, "is no time that a breaker override can last"),
        ({"seconds": MOST_SECONDS + 1.0}, "is no time that a breaker override can last"),
        ({"seconds": float("nan")}, "is no time that a breaker override can last"),
        ({"reason": "two\nlines"}, "cannot be printed"),
        ({"endpoint": "unknown:1"}, BROKEN.what),
    ],
)
def test_what_makes_no_sense_is_told_and_changes_nothing(wrong: dict[str, object], told: str) -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        (problem,) = (await method(channel, "OverrideBreaker")(**GOOD | wrong)).problems
        assert told in problem.what
        assert operator.breakers.orders == []

    talk(test)


@pytest.mark.parametrize(
    "wrong",
    [{"action": "tear"}, {"action": ""}, {"model": ""}, {"model": "a\n"}, {"endpoint": "u" * 600}, {"endpoint": "\0"}],
)
def test_what_is_no_order_is_refused(wrong: dict[str, str]) -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        code, text = await code_of(method(channel, "OverrideBreaker")(**GOOD | wrong))
        assert (code, len(text) < 600) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        assert operator.breakers.orders == []

    talk(test)
