"""From a checked inventory to models that the data plane can run."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from native.recall import Recall
from native.served import Served
from proxy.config.schema import LARGEST_CONCURRENCY, Config
from proxy.models.catalog import version_order
from proxy.models.inventory import CheckedModel, Inventory
from proxy.models.runtime import runtime
from proxy.models.warmup import warm_up
from proxy.problem import Problem, ProblemsFound
from proxy.score import Profile

log = logging.getLogger(__name__)

Progress = Callable[[str], None]

FEWEST = 2.0  # requests with an adaptive backend: one under way, one that is next


@dataclass(frozen=True, slots=True)
class OpenModel:
    """One version, open and warm. note: what there is to say about how it runs, or "".

    upstreams: the servers that run it, empty where it is run here. source: who told its signature then.
    config: the ModelConfig that they have for it; None where ours is told.
    """

    checked: CheckedModel
    served: Served
    note: str
    upstreams: tuple[str, ...] = ()
    source: str = ""
    platform: str = "onnxruntime_onnx"
    backend: str = "onnxruntime"
    config: Any = None

    @property
    def profile(self) -> Profile | None:
        return self.checked.profile


def open_models(config: Config, inventory: Inventory, progress: Progress = lambda name: None) -> list[OpenModel]:
    """Opens and warms every model of the repository. Raises ProblemsFound. Takes seconds; blocks.

    progress is called with each model's name before it is opened.
    """
    runtime()
    problems: list[Problem] = []
    opened: list[OpenModel] = []
    for checked in inventory.models:
        progress(f"{checked.name} version {checked.version}")
        try:
            opened.append(_open(checked))
        except ValueError as error:
            how = "Export it for this runtime"
            problems.append(Problem("ONNX Runtime cannot load the model", str(checked.artifact.file), str(error), how))
    if problems:
        raise ProblemsFound(problems)
    return opened


def tie_ladders(models: list[OpenModel]) -> None:
    """Ties the fallback ladder of every model, once all of them are open. Raises ProblemsFound."""
    latest = {model.checked.name: model.served for model in models}
    for model in models:
        _tie_ladder(model, latest)


def by_name(models: list[OpenModel]) -> list[list[Served]]:
    """The versions of each model, ascending, as the data plane takes them."""
    ordered = sorted(models, key=lambda m: (m.checked.name, version_order(m.served.version)))
    return [[m.served for m in group] for _, group in groupby(ordered, key=lambda m: m.checked.name)]


def apply_settings(served: Served, checked: CheckedModel) -> None:
    """Deadline, limit, admission and anomaly guard; the ladder is tied when all models are open."""
    settings = checked.settings
    served.set_admission(*_concurrency(settings.admission.concurrency), settings.admission.queue)
    served.set_deadline(settings.deadline or 0)
    if settings.limit is not None:
        served.set_limit(settings.limit.rate, settings.limit.burst)
    if checked.profile is not None:
        inputs = [spec.name for spec in checked.profile.layout.inputs]
        served.set_anomaly(
            checked.profile.kernel, _named(inputs, served), settings.anomaly.mode, settings.anomaly.false_positive_rate
        )


def _concurrency(concurrency: int | str) -> tuple[float, float]:
    """Floor and ceiling of the requests with a backend at a time; a ceiling of 0 is none."""
    if isinstance(concurrency, int):
        return concurrency, concurrency
    return (FEWEST, LARGEST_CONCURRENCY) if concurrency == "adaptive" else (0, 0)


def _open(checked: CheckedModel) -> OpenModel:
    settings = checked.settings
    served = Served(checked.name, checked.version, checked.artifact.data)
    notes = []
    if checked.artifact.unpredictable:
        served.keep_off_loop()
        notes.append(f"its time depends on its inputs' values ({checked.artifact.unpredictable}): always in a thread")
    notes.append(warm_up(served, settings.batching.max))
    apply_settings(served, checked)
    note = "; ".join(filter(None, notes))
    if note:
        log.warning("model %s version %s: %s", checked.name, checked.version, note)
    return OpenModel(checked, served, note)


def _named(inputs: list[str], served: Served) -> list[str]:
    """The profile's inputs by the model's names: one fitted on a plain table has its own name for the only input."""
    names = [name for name, _, _ in served.inputs]
    return inputs if all(name in names for name in inputs) else names


def _tie_ladder(model: OpenModel, latest: dict[str, Served]) -> None:
    rungs: list[Served | Recall | list[tuple[tuple[int, ...], bytes, bool]]] = []
    for rung in model.checked.rungs:
        if rung.value is not None:
            rungs.append([(o.shape, o.raw, o.repeats) for o in rung.value.outputs])
        elif rung.last_good is not None:
            rungs.append(Recall(rung.last_good.entries, rung.last_good.max_age))
        elif rung.model is not None:
            rungs.append(latest[rung.model])
    try:
        model.served.set_ladder(rungs)
    except ValueError as error:
        where = f"model {model.checked.name} version {model.checked.version}, fallback"
        raise ProblemsFound(
            [Problem("a model cannot stand in for another", where, str(error), "Name another")]
        ) from error
