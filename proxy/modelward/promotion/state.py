"""What has been promoted and taken back, and what operators asked for, as it is kept (modelward.promotion.store)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import structs

from modelward.records import Struct

MOST_EVENTS = 1000
MOST_NOTES = 200
"""Of these that are of no model, so that reloads leave promotions their place."""
LONGEST_REASON = 500
"""Characters. With as many of other text, all events fit into a file that is read again (store.LARGEST_FILE)."""
# shares are kept in this many parts of the whole
PARTS = 10_000

Shares = Mapping[str, int]
Versions = tuple[str, ...]


class Promotion(Struct, frozen=True, kw_only=True):
    """The last one of a model. Times are seconds since 1970."""

    version: str
    before: Shares
    """What each version had when it began, and has again when it is taken back."""
    configured: Shares | None
    """`versions:` of the configuration when it began. Where that says something else by now, it is obeyed."""
    steps: tuple[int, ...]
    """Per cent."""
    step: int = 0
    """Index of the present one."""
    auto: bool = False
    """It goes from step to step by itself."""
    phase: Literal["stepping", "done", "rolled back"] = "stepping"
    since: float
    """Of the present step, or of the end."""
    forced: bool = False
    """The present step was asked for although not every bound was decided."""
    digests: Mapping[str, str] = {}
    """SHA-256 of the files of the versions that had requests when it began: what was judged is what is promoted."""
    without: tuple[str, ...] = ()
    """Guards of the version before that this one may lack: profile, canary."""
    proposal: int = 0
    """Number of the proposal that was executed in it last; 0 for none."""
    epoch: int = 0
    """In a fleet, rises with each change of the model's record; 0: no other server knows of it."""
    began: int = 0
    """The epoch at which it began: of two promotions the later one has the larger."""
    on: str = ""
    """The server of the fleet that decided last. Numbers of proposals are each server's own."""

    def left_out(self) -> tuple[str, ...]:
        """Earlier releases know neither proposals nor fleets, and read what has none."""
        return tuple(key for key in ("proposal", "epoch", "began", "on") if not getattr(self, key))

    @property
    def percent(self) -> int:
        """Its share of the requests now."""
        return {"stepping": self.steps[self.step], "done": 100, "rolled back": 0}[self.phase]

    def is_as(self, other: Promotion | None) -> bool:
        """The same, whatever its epoch and whoever decided."""
        unnumbered = {"epoch": 0, "began": 0, "on": ""}
        return other is not None and structs.replace(self, **unnumbered) == structs.replace(other, **unnumbered)

    @property
    def words(self) -> str:
        """What it is now."""
        return f"{self.percent} %" if self.phase == "stepping" else self.phase

    @property
    def shares(self) -> dict[str, int]:
        """Of all versions, in `PARTS` of the whole or thereabouts; as they were before where it is taken back."""
        if self.phase == "rolled back":
            return dict(self.before)
        others = {v: weight for v, weight in self.before.items() if v != self.version and weight}
        total, left = sum(others.values()), PARTS * (100 - self.percent) // 100
        shares = {v: max(1, left * weight // total) for v, weight in others.items()} if left else {}
        return {**shares, self.version: PARTS - left}


class Event(Struct, frozen=True, kw_only=True):
    """Something that was done, who asked for it, and why. model, version: empty for a reload or restart."""

    at: float
    model: str = ""
    version: str = ""
    what: str
    actor: str = ""
    """modelward.admin.actor; ITSELF where no operator asked for it; empty where it is not known."""
    why: str = ""
    forced: bool = False
    """Although not every bound was decided."""


ITSELF = "modelward"
"""The actor of what the server decides."""


class State(Struct, frozen=True, kw_only=True):
    """promotions: by model. events: of all of them and of operators, the newest last."""

    promotions: Mapping[str, Promotion] = {}
    serving: Mapping[str, str] = {}
    """By model the version that has all requests until one is promoted: of models whose new versions wait for that, and
    of those whose promotions were lost."""
    events: tuple[Event, ...] = ()
    approved: Mapping[str, Mapping[str, str]] | None = None
    """Versions that were approved, with the digest of their files (modelward.models.approved)."""
    taken_back: Mapping[str, Versions] = {}
    """Of these the versions that were taken back and not promoted since."""

    def left_out(self) -> tuple[str, ...]:
        """Earlier releases know no approvals, and read what has none."""
        return () if self.approved is not None else ("approved", "taken_back")

    @property
    def may_answer(self) -> Mapping[str, Mapping[str, str]] | None:
        """Approved and not taken back since: what was found bad does not take over when the others are gone."""
        if self.approved is None or not self.taken_back:
            return self.approved
        return {
            model: {v: digest for v, digest in versions.items() if v not in self.taken_back.get(model, ())}
            for model, versions in self.approved.items()
        }

    def last_event(self, model: str, *, but: str) -> Event | None:
        """That says something else than `but`."""
        return next((each for each in reversed(self.events) if each.model == model and each.what != but), None)

    def executed(self, proposal: int, since: float, on: str = "") -> bool:
        """Whether this proposal, which was approved then, has changed a promotion. on: this server of a fleet."""
        found = [each for each in self.promotions.values() if each.proposal == proposal and each.since >= since]
        return any(each.on in ("", on) for each in found)

    def with_promotion(self, model: str, promotion: Promotion, event: Event) -> State:
        serving = {name: version for name, version in self.serving.items() if name != model}
        kept = structs.replace(self, promotions={**self.promotions, model: promotion}, serving=serving)
        return kept._with_taken_back(model, promotion).with_event(event)

    def _with_taken_back(self, model: str, promotion: Promotion) -> State:
        if self.approved is None:
            return self
        version = promotion.version
        others = tuple(each for each in self.taken_back.get(model, ()) if each != version)
        # a share that it has again is as it was approved
        is_out = promotion.phase == "rolled back" and not promotion.before.get(version)
        out = {**self.taken_back, model: (*others, version) if is_out else others}
        return structs.replace(self, taken_back={name: versions for name, versions in out.items() if versions})

    def with_approved(self, model: str, version: str, digest: str) -> State:
        """From now on this version may answer, with these files and no others."""
        if self.approved is None:
            return self
        known = (self.may_answer or {}).get(model, {}).get(version, digest)
        versions = {**self.approved.get(model, {}), version: known}
        return structs.replace(self, approved={**self.approved, model: versions})

    def with_serving(self, serving: Mapping[str, str], event: Event) -> State:
        return structs.replace(self, serving={**self.serving, **serving}).with_event(event)

    def with_event(self, event: Event) -> State:
        events = [*self.events, event]
        notes = [each for each in events if not each.model]
        if len(notes) > MOST_NOTES:
            events.remove(notes[0])
        return structs.replace(self, events=tuple(events[-MOST_EVENTS:]))
