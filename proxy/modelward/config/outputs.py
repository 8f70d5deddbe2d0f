"""What a model's outputs are, and what their numbers must be."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Annotated, Literal, Self, get_args

from modelward.config.fields import BeforeValidator, Field, StringConstraints, model_validator
from modelward.config.section import Section
from modelward.config.units import MINUTE, SECOND, Duration, UnitError
from modelward.suggest import suggestion

MOST_OUTPUTS = 32  # modelward_native/outputs/find_outputs.h: names that are looked for in one walk over an answer
MOST_LIMITS, MOST_BUDGETS = 8, 4  # modelward_native/outputs/guard.h
MOST_ROWS = 2**30

Action = Literal["observe", "flag", "clip", "fallback"]
Guard = Literal["finite", "range", "sum", "not_above", "not_below", "rises_with", "falls_with", "mean", "budget"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]
GUARDS: tuple[Guard, ...] = get_args(Guard)
LIMITS: tuple[Guard, ...] = ("not_above", "not_below", "rises_with", "falls_with")
CLIPPED: tuple[Guard, ...] = ("range", "not_above", "not_below")


def _classes(value: object) -> object:
    if isinstance(value, bool) or value == "logits":
        return value
    raise UnitError(f"{str(value)[:64]!r} is neither true, false nor logits", "Write classes: true for probabilities")


def _actions(value: object) -> object:
    """Told as one problem, and not as one for each form that it may have."""
    chosen = value if isinstance(value, Mapping) else {GUARDS[0]: value}
    for guard, action in chosen.items():
        for word, words, what in ((guard, GUARDS, "guard"), (action, get_args(Action), "action")):
            if word not in words:
                how = suggestion(str(word), words) or f"Write one of {', '.join(words)}"
                raise UnitError(f"{str(word)[:64]!r} is no {what}", how)
    return value


Classes = Annotated[Literal["logits"] | bool, BeforeValidator(_classes)]
Actions = Annotated[Action | dict[Guard, Action], BeforeValidator(_actions)]


def _listed(value: object) -> object:
    """One stands for a list of one."""
    return value if isinstance(value, list | tuple) else (value,)


class Budget(Section):
    """How many answers of one kind a model may give out within a window of time, over all workers and versions."""

    label: int | None = None
    """Counts rows of this class: of an output with `classes` those whose best class it is, of integers those that are
    equal to it."""
    above: float | None = Field(default=None, allow_inf_nan=False)
    """Counts rows whose number is above this. Without `label` and `above`, the sum of the numbers above 0 counts."""
    at_most: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Most of these rows, or the largest sum, within the window."""
    share: float | None = Field(default=None, gt=0, lt=1)
    """Largest share of all rows within the window. The first 100 rows count as 100."""
    each: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Most of these rows, or of the sum, that one caller may take at once; what it took comes back evenly over the
    window. A caller without a name is its address. Absent: one caller may take all."""
    window: Duration = MINUTE
    """The span of time, which slides. From 1 s to a day."""

    @model_validator(mode="after")
    def _says_what_counts(self) -> Self:
        if self.at_most is None and self.share is None:
            raise UnitError("the budget has no bound", "Give it at_most, share, or both")
        if self.label is not None and self.above is not None:
            raise UnitError("label and above are both set", "Keep one: each is a way to count rows")
        counts_rows = self.label is not None or self.above is not None
        if self.share is not None and not counts_rows:
            raise UnitError("share is of rows, and the budget counts a sum", "Add label or above")
        if counts_rows and self.at_most is not None and not (self.at_most.is_integer() and self.at_most <= MOST_ROWS):
            raise UnitError(f"at_most is {self.at_most:g} rows", f"Write a whole number up to {MOST_ROWS}")
        if self.each is not None and self.at_most is not None and self.each > self.at_most:
            raise UnitError(f"each is {self.each:g}, more than at_most", "Write less for one caller than for all")
        if counts_rows and self.each is not None and not (self.each.is_integer() and self.each <= MOST_ROWS):
            raise UnitError(f"each is {self.each:g} rows", f"Write a whole number up to {MOST_ROWS}")
        if self.window < SECOND:
            raise UnitError("the window is shorter than 1 s", "Write 1s or longer")
        return self


class Mean(Section):
    """How the mean of an output over a window is compared with the windows before it."""

    window: Duration = MINUTE
    """Over how long each mean is taken. The last 60 such means that were not unlike the others are remembered, and none
    is judged before there are 30."""
    rows: int = Field(default=100, ge=1, le=MOST_ROWS)
    """A window of fewer rows is neither judged nor remembered."""
    change: float = Field(default=0, ge=0, allow_inf_nan=False)
    """A mean that differs from the others' by less is no violation, however unlikely it is."""
    false_alarms: Annotated[int, Field(ge=100, le=10**9)] = 100_000
    """One window in so many may be taken for unlike the others although it is not."""
    column: int | None = Field(default=None, ge=0, lt=2**31)
    """Which number of a row, counted from 0. Absent: the last, of two classes that of class 1."""


def _bounds(value: object) -> object:
    """null is no bound."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(end if bound is None else bound for bound, end in zip(value, (-inf, inf), strict=True))
    return value


Bound = float


class Output(Section):
    """One output of a model, and the guards that its numbers must keep to."""

    classes: Classes = False
    """true: it holds the scores of the classes, as probabilities: [rows, classes], or one for each row, of class 1.
    `logits`: likewise, as any numbers of which the largest is the answer; of one for each row, above 0 is class 1."""
    finite: bool = False
    """No number is NaN or infinite."""
    range: Annotated[tuple[Bound, Bound] | None, BeforeValidator(_bounds)] = Field(default=None, strict=False)
    """[LOWEST, HIGHEST]: every number is between them; null is no bound."""
    sum: float | None = Field(default=None, allow_inf_nan=False)
    """The numbers of each row add up to this."""
    tolerance: float = Field(default=0.001, ge=0, allow_inf_nan=False)
    """By how much a sum may differ, or a number fall where it should rise."""
    not_above: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = Field(default=(), max_length=4, strict=False)
    """No number is above that of another output or input, named here: element by element, or its only number of the
    row. NAME[COLUMN]: one of the numbers of the row, counted from 0. One name, or a list."""
    not_below: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = Field(default=(), max_length=4, strict=False)
    """Likewise: no number is below."""
    rises_with: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = Field(default=(), max_length=4, strict=False)
    """Where two neighbouring rows of a request differ in this input alone, the row with more of it has no smaller last
    number in the output. NAME or NAME[COLUMN], one or a list. The model has no text inputs."""
    falls_with: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = Field(default=(), max_length=4, strict=False)
    """Likewise: no larger one."""
    mean: Mean | None = None
    """The mean of a window is like those of the windows before it. Absent: it is not watched."""
    budget: Annotated[tuple[Budget, ...], BeforeValidator(_listed)] = Field(
        default=(), max_length=MOST_BUDGETS, strict=False
    )
    """Budgets of answers, such as approvals. One mapping, or a list."""
    on_violation: Actions = "observe"
    """What happens to an answer that is not as its guards say. `observe`: it is counted and logged. `flag`: the
    response says so too. `clip`: its numbers are moved to the nearest that are allowed, and the response says so.
    `fallback`: it is not given out; the fallback chain answers. One action for all guards, or {GUARD: ACTION}: those
    that are not mentioned observe. A budget that is not mentioned by its name has the action fallback. With `clip` for
    all, what cannot be clipped has it too."""

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Those that are on."""
        on = {
            "finite": self.finite,
            "range": self.range is not None,
            "sum": self.sum is not None,
            "not_above": bool(self.not_above),
            "not_below": bool(self.not_below),
            "rises_with": bool(self.rises_with),
            "falls_with": bool(self.falls_with),
            "mean": self.mean is not None,
            "budget": bool(self.budget),
        }
        return tuple(guard for guard in GUARDS if on[guard])

    @property
    def limits(self) -> list[tuple[Guard, str]]:
        """The guards that name another tensor, and which."""
        named = (self.not_above, self.not_below, self.rises_with, self.falls_with)
        return [(guard, text) for guard, texts in zip(LIMITS, named, strict=True) for text in texts]

    def action(self, guard: Guard) -> Action:
        """What comes of its violation."""
        if isinstance(self.on_violation, dict):
            return self.on_violation.get(guard, "fallback" if guard == "budget" else "observe")
        if guard == "budget" or (self.on_violation == "clip" and guard not in CLIPPED):
            return "fallback"
        return self.on_violation

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.range is not None and not self.range[0] <= self.range[1]:
            raise UnitError(f"the range {list(self.range)} has nothing in it", "Write the lower bound first")
        if self.range == (-inf, inf):
            raise UnitError("the range has no bound", "Use finite: true, or write a bound")
        return self

    @model_validator(mode="after")
    def _actions_fit(self) -> Self:
        chosen = self.on_violation if isinstance(self.on_violation, dict) else {}
        for guard in chosen:
            if guard not in self.guards:
                raise UnitError(f"on_violation names the guard {guard}, which is off", "Set it, or leave it out there")
        clipped = chosen.items() if chosen else ((guard, self.on_violation) for guard in self.guards)
        for guard, action in clipped:
            if action == "clip" and guard not in CLIPPED and (chosen or not set(CLIPPED) & set(self.guards)):
                how = f"Only {', '.join(CLIPPED)} can be clipped: choose flag or fallback"
                raise UnitError(f"on_violation clips {guard}", how)
        if len(self.limits) > MOST_LIMITS:
            raise UnitError(f"{', '.join(LIMITS)} name too many tensors", f"Name at most {MOST_LIMITS} in all")
        return self


Outputs = Annotated[
    Mapping[Annotated[str, StringConstraints(min_length=1, max_length=256)], Output], Field(max_length=MOST_OUTPUTS)
]
