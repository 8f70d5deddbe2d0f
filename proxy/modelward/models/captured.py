"""What capture is asked for and cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelward.capture.features import elements, unknown
from modelward.models.inventory import CheckedVersion
from modelward.problem import Problem


def notes(models: Iterable[CheckedVersion]) -> Iterator[Problem]:
    for model in models:
        capture, inputs, outputs = model.settings.capture, model.artifact.inputs, model.artifact.outputs
        if capture is None:
            continue
        where = f"model {model.name} version {model.version}"
        if model.undecoded is not None:
            yield Problem("nothing is captured: its requests pass undecoded", where, how="Give it a signature")
            continue
        batched = all(spec.shape[:1] == (-1,) for spec in (*inputs, *outputs))
        sizes = {spec.name: elements(spec.shape, batched) for spec in inputs}
        if names := unknown(capture.features, sizes):
            yield Problem(
                "nothing is captured: capture.features names what is no input",
                where,
                f"{', '.join(names)}; it has {', '.join(sizes)}",
                "Name inputs, or elements such as x[3]: what was to be left out is not known",
            )
