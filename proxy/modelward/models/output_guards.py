"""The guards of a model's outputs, held against its signature, as the data plane takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import atan, cos, inf, pi, prod, sin, sqrt
from typing import Any

from modelward.config.outputs import CLIPPED, MOST_ROWS, Budget, Mean, Output
from modelward.problem import Problem
from modelward.suggest import suggestion
from modelward.tensors import TensorSpec, has_batch_axis

FLOATING = ("FP16", "BF16", "FP32", "FP64")
STRENGTH = ("observe", "flag", "clip", "fallback")
WINDOW_PARTS = 60  # modelward_native/outputs/answer_budget.h
DEGREES = 29  # of freedom: modelward_native/outputs/mean.h judges no window before there are 30
NO_MEAN = (1, 1, 0.0, inf, 0)

Limit = tuple[str, bool, int, int]
NativeBudget = tuple[str, int, float, int, float, float, int, int]


class GuardedOutputs:
    """Collects the guarded outputs of one version, and what is wrong with them."""

    def __init__(
        self,
        settings: Mapping[str, Output],
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        where: str,
    ) -> None:
        self.settings = settings
        self.inputs = inputs
        self.outputs = outputs
        self.where = where
        self.problems: list[Problem] = []
        self._names = [spec.name for spec in self.outputs]
        known = {name for name in self.settings if name in self._names}
        guarded = {name for name in known if self.settings[name].guards}
        others = {_split(text, self._names)[0] for name in guarded for _, text in self.settings[name].limits}
        # what bounds another output is read with it, guarded or not
        self._guarded = [name for name in self._names if name in guarded or name in others]
        self._batched = has_batch_axis((*self.inputs, *self.outputs))

    def compiled(self) -> list[dict[str, Any]]:
        """For modelward_native.outputs.guards.OutputGuards, in the order of the signature; empty for none."""
        return [self._compiled(name, self.settings.get(name, Output())) for name in self._guarded]

    def _compiled(self, name: str, output: Output) -> dict[str, Any]:
        spec = self.outputs[self._names.index(name)]
        self._check(spec, output)
        actions: dict[str, str] = {guard: output.action(guard) for guard in output.guards}
        strongest = max(actions.values(), key=STRENGTH.index, default="observe")
        # an answer that cannot be read can be neither clipped nor vouched for
        actions["readable"] = "fallback" if strongest == "clip" else strongest
        return {
            "output": self._names.index(name),
            "classes": bool(output.classes),
            "logits": output.classes == "logits",
            "actions": actions,
            "range": output.range or (-inf, inf),
            "sum": (output.sum or 0.0, output.tolerance),
            "limits": [limit for kind, text in output.limits if (limit := self._limit(name, kind, text))],
            "mean": NO_MEAN if output.mean is None else _mean(output.mean),
            "budgets": [_budget(budget) for budget in output.budget],
        }

    def _problem(self, name: str, what: str, why: str, how: str) -> None:
        self.problems.append(Problem(what, f"{self.where}, outputs.{name}", why, how))

    def _check(self, spec: TensorSpec, output: Output) -> None:
        if spec.datatype == "BYTES":
            self._problem(spec.name, "the output has no numbers to guard", f"it is {spec}", "Guard another output")
        for budget in output.budget:
            if budget.label is not None and not output.classes and spec.datatype in FLOATING:
                how = "Declare classes: true where it holds class scores, or use above"
                self._problem(spec.name, "a budget counts a label and the output has none", f"it is {spec}", how)
            elif budget.label is not None and budget.label not in (labels := self._labels(spec, output)):
                how = f"Labels of this output are {labels[0]} to {labels[-1]}"
                self._problem(spec.name, f"no answer has the label {budget.label}", f"it is {spec}", how)
        width = self._width(spec)
        if output.mean is not None and output.mean.column is not None and 0 < width <= output.mean.column:
            how = _counted_to(width)
            self._problem(spec.name, f"mean has no column {output.mean.column} to watch", f"it is {spec}", how)

    def _width(self, spec: TensorSpec) -> int:
        """Numbers of a row; -1 where the signature does not tell."""
        of_row = spec.shape[1:] if len(spec.shape) > 1 or self._batched else spec.shape
        return -1 if min(of_row, default=1) < 0 else prod(of_row)

    def _labels(self, spec: TensorSpec, output: Output) -> range:
        """That answers can have."""
        if output.classes:
            width = self._width(spec)
            return range(2 if width == 1 else width if width > 0 else MOST_ROWS)
        if spec.datatype in ("BOOL", "BYTES"):
            return range(2)
        bits, is_signed = int(spec.datatype.strip("UINT")), not spec.datatype.startswith("U")
        return range(-(1 << bits - 1), 1 << bits - 1) if is_signed else range(1 << bits)

    def _limit(self, name: str, kind: str, text: str) -> Limit | None:
        inputs = [spec.name for spec in self.inputs]
        other, column = _split(text, [*self._names, *inputs])
        if other == name or other not in self._names + inputs:
            how = suggestion(other, self._names + inputs) or "Name another output, an input, or NAME[COLUMN]"
            self._problem(name, f"{kind} names no other tensor of the model", text[:128], how)
            return None
        of_input = other not in self._names
        if kind in ("rises_with", "falls_with"):
            self._check_rows(name, kind, text, of_input)
        spec = self.inputs[inputs.index(other)] if of_input else self.outputs[self._names.index(other)]
        if spec.datatype == "BYTES":
            self._problem(name, f"{kind} names a tensor without numbers", f"{spec}", "Name another")
        self._check_columns(name, kind, spec, text, column)
        return kind, of_input, inputs.index(other) if of_input else self._guarded.index(other), column

    def _check_columns(self, name: str, kind: str, spec: TensorSpec, text: str, column: int) -> None:
        width, own = self._width(spec), self._width(self.outputs[self._names.index(name)])
        if 0 < width <= column:
            self._problem(name, f"{kind} names a column that is not there", f"{text[:128]}: {spec}", _counted_to(width))
        if column >= 0 or width < 2 or not self._batched or (kind in CLIPPED and (own < 0 or own == width)):
            return
        why = f"{spec} has {width} numbers in each row"
        why += f", the output {own}" if kind in CLIPPED else ", and one is compared"
        self._problem(name, f"{kind} does not say which column", why, f"Name one: {text[:128]}[0]")

    def _check_rows(self, name: str, kind: str, text: str, of_input: bool) -> None:
        if not of_input:
            self._problem(name, f"{kind} names an output", text[:128], "Name an input, or use not_above and not_below")
        texts = [spec.name for spec in self.inputs if spec.datatype == "BYTES"]
        if texts:
            why = f"rows are compared number by number, and the input {texts[0]} is text"
            self._problem(name, f"the model has no {kind}", why, f"Leave {kind} out")


def _counted_to(width: int) -> str:
    return f"Columns are counted from 0 to {width - 1}"


def _split(text: str, names: Sequence[str]) -> tuple[str, int]:
    """NAME[COLUMN], unless that is a name; without a column -1."""
    found = None if text in names else re.fullmatch(r"(.+)\[(\d{1,9})\]", text)
    return (found[1], int(found[2])) if found else (text, -1)


def _budget(budget: Budget) -> NativeBudget:
    of = "label" if budget.label is not None else "above" if budget.above is not None else "sum"
    at_most, unit = int(budget.at_most or 0), 0.0
    if of == "sum" and budget.at_most is not None:
        at_most, unit = MOST_ROWS, budget.at_most / MOST_ROWS
    part = -(-budget.window // WINDOW_PARTS)
    each = int(budget.each / unit) if budget.each and unit else int(budget.each or 0)
    return of, budget.label or 0, budget.above or 0.0, at_most, unit, budget.share or 0.0, part, each


def _mean(mean: Mean) -> tuple[int, int, float, float, int]:
    column = mean.column if mean.column is not None else 2**31 - 1  # the last there is
    return mean.window, mean.rows, mean.change, student_t(1 / mean.false_alarms), column


def student_t(chance: float) -> float:
    """What Student's t of DEGREES degrees of freedom exceeds, on either side, with this chance.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3: a finite sum where the degrees are odd.
    """
    low, high = 0.0, 1e6
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _beyond(middle) > chance else (low, middle)
    return high


def _beyond(t: float) -> float:
    angle = atan(t / sqrt(DEGREES))
    term = total = cos(angle)
    for k in range(2, DEGREES - 2, 2):
        term *= k / (k + 1) * cos(angle) ** 2
        total += term
    return 1 - 2 / pi * (angle + sin(angle) * total)
