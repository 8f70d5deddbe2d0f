"""What `serve` would say of models, found out in child processes: a model that ends the process ends only its child."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from modelward.child import Bounds, ChildEnded, in_child
from modelward.models.inventory import CheckedVersion
from modelward.models.opening import DEADLY_HOW, LoadLimits, try_open
from modelward.models.trial import Trials
from modelward.problem import Problem, ProblemsFound

# bytes of models that are tried in one child: it costs half a second, and has its own copy of them
TOGETHER = 64 << 20
# of a child, beside what its models may take
START_SECONDS = 10.0
# as workers have: what constants alone may take is bounded before (LoadLimits.attempt)
ANY_MEMORY = sys.maxsize


def problems_of(models: Sequence[CheckedVersion], limits: LoadLimits) -> list[Problem]:
    """What keeps these from being served, in their order."""
    problems: list[Problem] = []
    sound: list[CheckedVersion] = []
    for model in models:
        try:
            found = limits.attempt(model, lambda attempt: limits.trials.problems(model.artifact))  # noqa: B023 - now
        except ProblemsFound as error:
            found = list(error.problems)
        problems += found
        sound += [] if found else [model]
    for group in _groups(sound):
        problems += _in_child(group, limits.seconds)
    return problems


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


def _in_child(models: Sequence[CheckedVersion], seconds: float) -> list[Problem]:
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
            return [problem for model in models for problem in _in_child([model], seconds)]
        what = "ONNX Runtime does not survive the model or its canary, and serve refuses it"
        return [Problem(what, str(models[0].artifact.file), str(ended), DEADLY_HOW)]


def try_all(models: Sequence[CheckedVersion], seconds: float) -> list[Problem]:
    """In the child."""
    with Trials(Path("/nonexistent"), seconds) as trials:
        limits = LoadLimits(seconds, trials)
        return [problem for model in models for problem in try_open(model, limits)]
