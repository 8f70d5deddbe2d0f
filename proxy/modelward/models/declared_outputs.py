"""What the configuration says of a model's outputs, held against the model's signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from modelward.config.outputs import Output
from modelward.models.output_guards import FLOATING, GuardedOutputs
from modelward.problem import Problem, ProblemsFound
from modelward.suggest import suggestion
from modelward.tensors import TensorSpec


class DeclaredOutputs(Struct, frozen=True):
    """classes: the index of the output with the class scores, None where none is declared. logits: as it declares.
    guards: of outputs, for modelward_native.outputs.guards.OutputGuards; empty for none."""

    classes: int | None = None
    logits: bool = False
    guards: tuple[dict[str, Any], ...] = ()


NOTHING_DECLARED = DeclaredOutputs()


def declared_outputs(
    settings: Mapping[str, Output], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], where: str
) -> DeclaredOutputs:
    """Raises ProblemsFound where the settings name an output that is not there, or that cannot be what they say."""
    problems: list[Problem] = []
    scores: list[int] = []
    names = [spec.name for spec in outputs]
    for name, output in settings.items():
        place = f"{where}, outputs.{name}"
        if name not in names:
            how = suggestion(name, names) or f"Outputs are {', '.join(names)}"
            problems.append(Problem("the model has no such output", place, how=how))
            continue
        if output.classes:
            spec = outputs[names.index(name)]
            if scores:
                first = names[scores[0]]
                problems.append(Problem("two outputs hold class scores", place, f"{first} does too", "Declare one"))
            if spec.datatype not in FLOATING or len(spec.shape) > 2:
                how = "Declare floating-point numbers of the shape [rows, classes], [classes] or [rows]"
                problems.append(Problem("the output cannot hold class scores", place, f"it is {spec}", how))
            scores.append(names.index(name))
    guarded = GuardedOutputs(settings, inputs, outputs, where)
    guards = tuple(guarded.compiled())
    if problems := problems + guarded.problems:
        raise ProblemsFound(problems)
    classes = scores[0] if scores else None
    return DeclaredOutputs(classes, bool(scores) and settings[names[scores[0]]].classes == "logits", guards)
