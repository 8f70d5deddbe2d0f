"""What metrics tell of promotions: how many have ended, and which the server itself has taken back."""

from modelward.promotion.promoter import Promoter
from modelward.promotion.state import ITSELF, State
from modelward.telemetry.snapshot import Snapshot, StateSnapshot


def counted(promoter: Promoter) -> Snapshot:
    state = StateSnapshot(int(promoter.store.unsaved), promoter.store.failures)
    return Snapshot(promotions=dict(promoter.ended), rolled_back=rolled_back(promoter.state), state=state)


def rolled_back(state: State) -> dict[str, float]:
    """When the last promotion of a model ended, in seconds since 1970, where the server itself took it back."""
    last = {event.model: event for event in state.events if event.what == "rolled back"}
    return {
        model: promotion.since
        for model, promotion in state.promotions.items()
        if promotion.phase == "rolled back" and (event := last.get(model)) is not None and event.actor == ITSELF
    }
