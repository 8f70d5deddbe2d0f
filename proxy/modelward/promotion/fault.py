"""What is wrong with a promotion that parses and makes no sense: in the state on disk, and in the store of a fleet."""

from __future__ import annotations

from modelward.promotion import epochs
from modelward.promotion.state import Event, Promotion, State

MOST_STEPS = 100
LARGEST_PROPOSAL = 1 << 53
LARGEST_WEIGHT = 1_000_000_000
LARGEST_TIME = float(1 << 33)  # in the year 2242


def fault_of(promotion: Promotion) -> str:
    """Empty where it can be obeyed."""
    if not 0 <= promotion.step < len(promotion.steps) <= MOST_STEPS or not all(
        0 < step <= 100 for step in promotion.steps
    ):
        return "the promotion has no such step"
    weights = [*promotion.before.values(), *(promotion.configured or {}).values()]
    if not all(0 <= weight <= LARGEST_WEIGHT for weight in weights) or not _is_time(promotion.since):
        return "a number of the promotion is out of range"
    if not 0 <= promotion.proposal <= LARGEST_PROPOSAL or not promotion.version:
        return "the promotion is of nothing"
    return ""


def fault_of_event(event: Event) -> str:
    return "" if _is_time(event.at) else "the event is out of range"


def fault_of_state(state: State) -> str:
    """With where it is."""
    for model, promotion in state.promotions.items():
        numbers = (promotion.began, promotion.epoch)
        fault = fault_of(promotion)
        if not fault and not all(number == 0 or epochs.is_epoch(number) for number in numbers):
            fault = "the promotion has no such epoch"
        if fault:
            return f"{fault} - at `$.promotions[{model[:64]!r}]`"
    for index, event in enumerate(state.events):
        if fault := fault_of_event(event):
            return f"{fault} - at `$.events[{index}]`"
    return ""


def _is_time(seconds: float) -> bool:
    return 0 <= seconds <= LARGEST_TIME
