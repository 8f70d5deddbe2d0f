"""What the fleet knows of one model, as the store has it; and which of two records is obeyed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

import msgspec
from msgspec import field, structs

from modelward.fleet.store import LARGEST_DOCUMENT, Document
from modelward.promotion import epochs
from modelward.promotion import fault as faults
from modelward.promotion.state import ITSELF, LONGEST_REASON, Event, Promotion, State, Versions
from modelward.records import Struct, read, written

MODEL = "model/"
"""Before the model, the name of its document."""
MOST_VERSIONS = 256
LONGEST_NAME = 256
MOST_ELSEWHERE = 16
LARGEST_TIME, MOST_STEPS = faults.LARGEST_TIME, faults.MOST_STEPS


class Malformed(ValueError):
    """It is no record."""


class Record(Struct, frozen=True, kw_only=True):
    """serving: the version that has all requests until one is promoted. approved, taken_back: of this model, as in
    modelward.promotion.state.State. by: the server that has decided."""

    promotion: Promotion | None = None
    event: Event | None = None
    serving: str = ""
    approved: Mapping[str, str] | None = None
    taken_back: Versions = ()
    by: str = ""

    @property
    def encoded(self) -> bytes:
        return written(self, defaults=False)


def record_of(model: str, state: State, by: str) -> Record:
    """event: the last one of the model."""
    serving = state.serving.get(model, "")
    waits = Event(at=0.0, model=model, version=serving, what="answered until one is promoted", actor=ITSELF)
    return Record(
        promotion=state.promotions.get(model),
        event=state.last_event(model, but="") or waits,
        serving=serving,
        approved=(state.approved or {}).get(model),
        taken_back=state.taken_back.get(model, ()),
        by=by,
    )


def decoded(data: bytes) -> Record:
    """Raises Malformed. What comes of it can be obeyed without a further check."""
    if len(data) > LARGEST_DOCUMENT:
        raise Malformed("it is too long")
    try:
        record = read(Record, data)
    except ValueError as error:
        raise Malformed(str(error)) from error
    if fault := _fault(record):
        raise Malformed(fault)
    return record


def _fault(record: Record) -> str:
    promotion, event = record.promotion, record.event
    names = [record.serving, *(record.approved or ()), *(record.approved or {}).values(), *record.taken_back]
    if promotion is not None:
        if event is None:
            return "the promotion has no event"
        if fault := faults.fault_of(promotion):
            return fault
        if not (epochs.is_epoch(promotion.began) and epochs.is_epoch(promotion.epoch)) or (
            epochs.ahead(promotion.began, promotion.epoch)
        ):
            return "the promotion has no such epoch"
        names += [promotion.version, *promotion.before, *promotion.digests, *promotion.digests.values()]
        names += [*(promotion.configured or {}), *promotion.without, promotion.on]
    if event is not None:
        if fault := faults.fault_of_event(event):
            return fault
        if len(event.why) > 2 * LONGEST_REASON:
            return "the event is out of range"
        names += [event.what, event.actor, event.model, event.version]
    if len(names) > 8 * MOST_VERSIONS or any(len(name) > LONGEST_NAME or not name.isprintable() for name in names):
        return "it has names that are none"
    return ""


class Records(msgspec.Struct, frozen=True):
    """Of the models that this server knows. bad: models whose record is none, and why. elsewhere: models that are
    promoted and not known here."""

    of: dict[str, Record] = field(default_factory=dict)
    bad: Mapping[str, str] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()

    def tell(self, say: Callable[..., None], *, leads: bool) -> None:
        """say: as OnceAMinute's. leads: the server would, were nothing promoted elsewhere."""
        for model, why in self.bad.items():
            say("record", logging.ERROR, "the store's record of model %s is none: %s; what is served stays", model, why)
        for model in self.elsewhere if leads else ():
            text = "model %s is promoted in the fleet and not known here: this server does not lead"
            say("elsewhere", logging.WARNING, text, model)


def records(documents: Mapping[str, Document], models: Collection[str]) -> Records:
    """models: that this server knows. Of others no more than MOST_ELSEWHERE are looked at, and none is kept."""
    found, bad = {}, {}
    for model in models:
        if (document := documents.get(MODEL + model)) is not None:
            try:
                found[model] = decoded(document.data)
            except Malformed as error:
                bad[model] = str(error)
    others = (name.removeprefix(MODEL) for name in documents if name.startswith(MODEL))
    unknown = sorted(model for model in others if model not in models)[:MOST_ELSEWHERE]
    return Records(found, bad, tuple(model for model in unknown if _is_stepping(documents[MODEL + model])))


def _is_stepping(document: Document) -> bool:
    try:
        promotion = decoded(document.data).promotion
    except Malformed:
        return False
    return promotion is not None and promotion.phase == "stepping"


def is_newer(promotion: Promotion | None, than: Promotion | None) -> bool:
    """Of two promotions of a model the newer is obeyed: the one that began later; of one and the same the rollback,
    whatever step the others have gone to; then what was decided later, and what is stricter. So all servers come to
    the same whichever record they meet first."""
    if promotion is None or than is None:
        return promotion is not None
    began = epochs.ahead(promotion.began, than.began) - epochs.ahead(than.began, promotion.began)
    is_out = int(promotion.phase == "rolled back") - int(than.phase == "rolled back")
    epoch = epochs.ahead(promotion.epoch, than.epoch) - epochs.ahead(than.epoch, promotion.epoch)
    if later := began or is_out or epoch:
        return later > 0
    return (-promotion.percent, written(promotion)) > (-than.percent, written(than))


def tell_of_a_jump(say: Callable[..., None], model: str, mine: Promotion | None, theirs: Promotion | None) -> None:
    """Where theirs is later by more than a fleet comes to. say: as OnceAMinute's."""
    if mine is not None and theirs is not None and epochs.ahead(theirs.epoch, mine.epoch or 1) > epochs.NEAR:
        text = "the fleet's record of model %s has gone from epoch %d to %d: see who else writes to its store"
        say("jump", logging.ERROR, text, model, mine.epoch, theirs.epoch)


def applied(state: State, model: str, record: Record) -> State:
    """With what the record says, where it is obeyed; approvals of all servers count."""
    mine = state.promotions.get(model)
    if record.promotion is not None and record.event is not None and is_newer(record.promotion, mine):
        state = state.with_promotion(model, record.promotion, record.event)
    elif record.serving not in ("", state.serving.get(model)) and mine is None and record.event is not None:
        state = state.with_serving({model: record.serving}, record.event)
    if record.approved is None or state.approved is None:
        return state
    approved = {**state.approved.get(model, {}), **record.approved}
    out = state.taken_back
    if state.promotions.get(model) == record.promotion and record.taken_back != out.get(model, ()):
        out = {name: each for name, each in {**out, model: record.taken_back}.items() if each}
    return structs.replace(state, approved={**state.approved, model: approved}, taken_back=out)
