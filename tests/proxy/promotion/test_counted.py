"""What metrics tell of promotions that were taken back."""

from __future__ import annotations

from typing import Literal

from modelward.promotion.counted import rolled_back
from modelward.promotion.state import ITSELF, Event, Promotion, State


def promotion(phase: Literal["stepping", "done", "rolled back"]) -> Promotion:
    return Promotion(version="2", before={"1": 1}, configured=None, steps=(10, 100), phase=phase, since=50.0)


def event(model: str, what: str, actor: str) -> Event:
    return Event(at=50.0, model=model, version="2", what=what, actor=actor)


def test_what_the_server_has_taken_back_itself_has_a_time() -> None:
    state = State(promotions={"m": promotion("rolled back")}, events=(event("m", "rolled back", ITSELF),))
    assert rolled_back(state) == {"m": 50.0}


def test_what_an_operator_has_taken_back_has_none() -> None:
    events = (event("m", "rolled back", ITSELF), event("m", "rolled back", "alice"))
    assert rolled_back(State(promotions={"m": promotion("rolled back")}, events=events)) == {}


def test_a_promotion_that_came_after_ends_it() -> None:
    events = (event("m", "rolled back", ITSELF), event("m", "promoted", "alice"))
    assert rolled_back(State(promotions={"m": promotion("stepping")}, events=events)) == {}


def test_where_the_event_is_lost_there_is_no_time() -> None:
    assert rolled_back(State(promotions={"m": promotion("rolled back")})) == {}
