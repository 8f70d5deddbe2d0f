"""What promotions ask of the other servers of a fleet (modelward.fleet), and what a server does that is alone."""

from __future__ import annotations

from typing import Protocol

from modelward.promotion import epochs
from modelward.promotion.state import Event, Promotion, State
from modelward.promotion.step import Sides


class Fleet(Protocol):
    """Used on the supervisor's loop."""

    @property
    def judge(self) -> str:
        """The server that takes back what does worse, by what all have counted. Empty where that is this one: it leads
        the fleet, or cannot reach the others."""

    @property
    def leads(self) -> bool:
        """Whether this server goes on with what has held."""

    @property
    def replica(self) -> str:
        """What the others call this server; empty where there are none."""

    @property
    def alone(self) -> bool:
        """Whether there are no other servers."""

    def may_advance(self, model: str, promotion: Promotion) -> bool:
        """Whether this server ends steps, and knows what the others have counted in this one."""

    def joined(self, state: State) -> State:
        """With what the fleet has done since this server last heard of it."""

    def merged(self, model: str, promotion: Promotion, own: Sides) -> Sides:
        """With what the others have counted in this step."""

    async def gather(self) -> None:
        """Asks what the others have counted, where this server does not anyway. Never fails."""

    async def agreed(self, model: str, after: Promotion, event: Event, state: State) -> Promotion:
        """The promotion as all servers follow it from now on. state: with it. Raises ProblemsFound, and then as a rule
        nothing has changed."""

    def told(self, model: str) -> None:
        """Its version was taken back here, which the others are to know as soon as they can be told."""


class Alone:
    """One server."""

    leads = alone = True
    replica = judge = ""

    def may_advance(self, model: str, promotion: Promotion) -> bool:
        return True

    def joined(self, state: State) -> State:
        return state

    def merged(self, model: str, promotion: Promotion, own: Sides) -> Sides:
        return own

    async def gather(self) -> None:
        return

    async def agreed(self, model: str, after: Promotion, event: Event, state: State) -> Promotion:
        return after

    def told(self, model: str) -> None:
        return


def taken_back_after(promotion: Promotion, last: Promotion | None, on: str) -> dict[str, int | str]:
    """Epochs of a promotion that is taken back without asking the others: later than all that this server knows of.

    last: of the model, as it was known. on: this server. Nothing where no other server knows of any.
    """
    there = (promotion.epoch, last.epoch if last is not None else 0)
    epoch = epochs.following(epochs.latest(*there))
    began = promotion.began if epochs.is_epoch(promotion.began) else epoch
    return {"on": on, **({"epoch": epoch, "began": began} if any(there) else {})}
