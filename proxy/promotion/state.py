"""What has been promoted and taken back: one file, which the supervisor alone writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from proxy.config.section import Section
from proxy.problem import Problem, ProblemsFound
from proxy.regular import read_regular
from proxy.whole import replace_file

FILE = "promotions.json"
LARGEST_FILE = 16 << 20
MOST_EVENTS = 1000
# shares are kept in so many parts of the whole
PARTS = 10_000

Shares = Mapping[str, int]


class Promotion(Section):
    """The last one of a model. Times are seconds since 1970."""

    version: str
    before: Shares
    """What each version had when it began, and has again when it is taken back."""
    configured: Shares | None
    """`versions:` of the configuration when it began. Where that says something else by now, it is obeyed."""
    steps: tuple[int, ...] = Field(strict=False)
    """Per cent."""
    step: int = 0
    """Index of the present one."""
    auto: bool = False
    """It goes from step to step by itself."""
    phase: Literal["stepping", "done", "rolled back"] = "stepping"
    since: float
    """Of the present step, or of the end."""
    forced: bool = False
    """Against the verdict on its shadow, which then takes nothing back."""

    @property
    def percent(self) -> int:
        """Its share of the requests now."""
        return {"stepping": self.steps[self.step], "done": 100, "rolled back": 0}[self.phase]

    @property
    def shares(self) -> dict[str, int]:
        """Of all versions, in `PARTS` of the whole or thereabouts; as they were before where it is taken back."""
        if self.phase == "rolled back":
            return dict(self.before)
        others = {v: weight for v, weight in self.before.items() if v != self.version and weight}
        total, left = sum(others.values()), PARTS * (100 - self.percent) // 100
        shares = {v: max(1, left * weight // total) for v, weight in others.items()} if left else {}
        return {**shares, self.version: PARTS - left}


class Event(Section):
    """Something that was done, by whom it was asked or why it had to be."""

    at: float
    model: str
    version: str
    what: str
    why: str = ""
    forced: bool = False
    """Against the verdict."""


class State(Section):
    """promotions: by model. events: of all of them, the newest last."""

    promotions: Mapping[str, Promotion] = Field(default_factory=dict)
    events: tuple[Event, ...] = Field(default=(), strict=False)

    def with_promotion(self, model: str, promotion: Promotion, event: Event) -> State:
        events = (*self.events, event)[-MOST_EVENTS:]
        return State(promotions={**self.promotions, model: promotion}, events=events)

    def without(self, model: str, event: Event) -> State:
        left = {name: promotion for name, promotion in self.promotions.items() if name != model}
        return State(promotions=left, events=(*self.events, event)[-MOST_EVENTS:])


def folder_of(configured: Path | None) -> Path:
    """Where the state is: as configured, or what the service manager gives, or a hidden folder of the working one."""
    return configured or Path(os.environ.get("STATE_DIRECTORY") or ".modelward")


def load(folder: Path) -> State:
    """What the folder's file says; nothing where there is none. Raises ProblemsFound."""
    file = folder / FILE
    try:
        return State.model_validate_json(read_regular(file, LARGEST_FILE))
    except FileNotFoundError:
        return State()
    except OSError as error:
        why = error.strerror or str(error)
        how = "Let the server read it, or set state to another folder"
        raise ProblemsFound([Problem("the state cannot be read", str(file), why, how)]) from error
    except ValidationError as error:
        raise ProblemsFound([_no_state(file, error.errors()[0]["msg"])]) from error
    except ValueError as error:
        raise ProblemsFound([_no_state(file, str(error))]) from error


def save(folder: Path, state: State) -> None:
    """Makes the folder if it must. Raises ProblemsFound, and then nothing has changed."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(folder / FILE, state.model_dump_json(indent=1) + "\n")
    except OSError as error:
        why, how = error.strerror or os.strerror(error.errno or 0), "Set state to a folder that the server may write"
        raise ProblemsFound([Problem("the state cannot be written", str(folder / FILE), why, how)]) from error


def _no_state(file: Path, why: str) -> Problem:
    how = "Put back a copy of it, or remove it: versions then have the shares that the configuration says"
    return Problem("this is no file of promotions", str(file), why, how)
