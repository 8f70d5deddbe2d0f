"""Which steps of a minute are told one by one, and what is said of the others at its end.

An identity that goes up and down takes a few lines and no more, so that it hides no other. A rise to a step that costs
a customer its answers is told by name in any case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from modelward.detect.restriction import Known
from modelward_native.detect.suspicion import STEPS

FIRST = 10  # of each model
FIRST_OF_ONE = 3  # of these, of each identity
SEVERE = ("fallback", "block")
MOST_SEVERE = 200  # rises to these, of each model, each once for an identity
MOST_MERGED = 10_000  # identities whose other steps are put together
MOST_NAMED = 20  # of these, in the sum
MOST_TOLD = 20  # models in a sum, each with its steps
OTHERS = "others"


class _Merged(Struct):
    """steps: that were not told. highest: of these."""

    whose: Known
    steps: int = 0
    highest: str = STEPS[0]
    last: str = STEPS[0]


class StepMinute(Struct):
    """began: seconds of the monotonic clock."""

    began: float
    _of_model: Counter[str] = field(default_factory=Counter)
    _of_one: Counter[int] = field(default_factory=Counter)
    _severe_of_model: Counter[str] = field(default_factory=Counter)
    _severe: set[tuple[int, str]] = field(default_factory=set)
    _left: Counter[tuple[str, str]] = field(default_factory=Counter)
    _merged: dict[int, _Merged] = field(default_factory=dict)

    def takes(self, key: int, whose: Known, before: str, after: str) -> bool:
        """Whether this step is told by itself; else it is part of the sum. key: of the identity's record."""
        if self._is_severe(key, whose.model, before, after):
            return True
        if self._of_model[whose.model] < FIRST and self._of_one[key] < FIRST_OF_ONE:
            self._of_model[whose.model] += 1
            self._of_one[key] += 1
            return True
        self._left[whose.model, after] += 1
        merged = self._merged.get(key)
        if merged is None:
            if len(self._merged) >= MOST_MERGED:
                return False
            merged = self._merged[key] = _Merged(whose)
        merged.steps += 1
        merged.highest = max(merged.highest, after, key=STEPS.index)
        merged.last = after
        return False

    def lose(self, count: int) -> None:
        """Steps of which nothing is known."""
        self._left["", "not told"] += count

    @property
    def words(self) -> str:
        """Of the sum, in one line; empty where all was told."""
        if not self._left:
            return ""
        worst = "; ".join(
            f"{each.whose.kind} {each.whose.name!r} of model {each.whose.model} {each.steps}, up to {each.highest}, "
            f"now {each.last}"
            for each in self._worst()
        )
        return f"{self._left.total()} more steps of identities in this minute{f': {worst}' if worst else ''}"

    @property
    def figures(self) -> Mapping[str, Any]:
        """Of the sum: steps in all, by model and step, and of the identities with the highest."""
        by_model: dict[str, dict[str, int]] = {}
        for (model, step), count in self._left.most_common():
            name = model if model in by_model or len(by_model) < MOST_TOLD else OTHERS
            steps = by_model.setdefault(name, {})
            steps[step] = steps.get(step, 0) + count
        identities = [
            {"identity": f"{each.whose.kind} {each.whose.name}", "model": each.whose.model, "steps": each.steps,
             "highest": each.highest, "last": each.last}
            for each in self._worst()
        ]  # fmt: skip
        return {"steps": self._left.total(), "by_model": by_model, "identities": identities}

    def _is_severe(self, key: int, model: str, before: str, after: str) -> bool:
        """A rise that is told beside the others, once for each identity."""
        rises = STEPS.index(after) > STEPS.index(before)
        if not rises or after not in SEVERE or (key, after) in self._severe:
            return False
        if self._severe_of_model[model] >= MOST_SEVERE:
            return False
        self._severe_of_model[model] += 1
        self._severe.add((key, after))
        return True

    def _worst(self) -> list[_Merged]:
        ordered = sorted(self._merged.values(), key=lambda each: (-STEPS.index(each.highest), -each.steps))
        return ordered[:MOST_NAMED]
