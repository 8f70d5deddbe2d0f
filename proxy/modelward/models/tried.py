"""What `serve` would say of models, found out in child processes: a model that ends the process ends only its child."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from modelward.child import Bounds, ChildEnded, in_child
from modelward.models.inventory import CheckedVersion
from modelward.models.opening import DEADLY_HOW, LoadLimits, try_open
from modelward.models.trial import Trials
from modelward.problem import Problem, ProblemsFound
from modelward.repository.refused import Refused

# bytes of models that are tried in one child: it costs half a second, and has its own copy of them
TOGETHER = 64 << 20
# of a child, beside what its models may take
START_SECONDS = 10.0
# as workers have: what constants alone may take is bounded before (LoadLimits.attempt)
ANY_MEMORY = sys.maxsize


def refused_of(models: Sequence[CheckedVersion], limits: LoadLimits) -> list[Refused]:
    """Which of these cannot be served, and why, in their order."""
    refused: list[Refused] = []
    sound: list[CheckedVersion] = []
    for model in models:
        try:
            found = limits.attempt(model, lambda attempt: limits.trials.problems(model.artifact))  # noqa: B023 - now
        except ProblemsFound as error:
            found = list(error.problems)
        if found:
            refused.append(_refused(model, found))
        else:
            sound.append(model)
    for group in _groups(sound):
        refused += _in_child(group, limits.seconds)
    return refused


def _refused(model: CheckedVersion, problems: Sequence[Problem]) -> Refused:
    return Refused(model.name, model.version, tuple(problems))


def _groups(models: Sequence[CheckedVersion]) -> Iterator[list[CheckedVersion]]:
    group: list[CheckedVersion] = []
    size = 0
    for model in models:
        if group and size + len(model.artifact.data) > TOGETHER:
            yield group
            group, size = [], 0
        group.append(model)
        size += len(model.artifact.data)
    if group:
        yield group


def _in_child(models: Sequence[CheckedVersion], seconds: float) -> list[Refused]:
    # without what takes no part in it, or was tried before
    given = [
        replace(model, profile=None, fallbacks=(), artifact=replace(model.artifact, unproven="", costly=""))
        for model in models
    ]
    bounds = Bounds(START_SECONDS + len(given) * (seconds + 1), ANY_MEMORY)
    try:
        return in_child(bounds, try_all, given, seconds)
    except ChildEnded as ended:
        if len(models) > 1:  # one of them is to blame
            return [refused for model in models for refused in _in_child([model], seconds)]
        what = "ONNX Runtime does not survive the model or its canary, and serve refuses it"
        return [_refused(models[0], [Problem(what, str(models[0].artifact.file), str(ended), DEADLY_HOW)])]


def try_all(models: Sequence[CheckedVersion], seconds: float) -> list[Refused]:
    """In the child."""
    with Trials(Path("/nonexistent"), seconds) as trials:
        limits = LoadLimits(seconds, trials)
        return [_refused(model, found) for model in models if (found := try_open(model, limits))]
