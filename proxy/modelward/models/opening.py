"""From a checked inventory to models that the data plane can run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from modelward.child import ChildEnded
from modelward.config.model import LARGEST_CONCURRENCY
from modelward.config.schema import Config
from modelward.defect import as_problem
from modelward.integrity.version_files import VersionFiles
from modelward.models.artifact import Artifact
from modelward.models.canary import failure
from modelward.models.catalog import version_order
from modelward.models.inventory import CheckedVersion, Inventory, Load, load_unseen
from modelward.models.limited import Attempt, TookTooLong, try_in_child, within
from modelward.models.runtime import mend, runtime
from modelward.models.trial import Trials
from modelward.models.twins import twins
from modelward.models.warmup import warm_up
from modelward.models.weights import Weights, primary
from modelward.problem import Problem, ProblemsFound
from modelward.repository.refused import Refused
from modelward.repository.scan import Version
from modelward_native.backend.engine import Engine
from modelward_native.backend.runtime import LoadNote
from modelward_native.outputs.guards import OutputGuards
from modelward_native.request.last_good import LastGoodAnswers
from modelward_native.request.served import Served

if TYPE_CHECKING:
    from modelward.score import Profile

log = logging.getLogger("modelward.models")

Key = tuple[str, str]  # name and version
T = TypeVar("T")
Progress = Callable[[str], None]

DEADLY_HOW = "Look into the model and its canary; another file is loaded, the same after a pardon and a reload"
FEWEST = 2.0  # requests with an adaptive backend: one under way, one that is next


class OpenVersion(Struct, frozen=True):
    """One version, open and warm. note: what there is to say about how it runs, or "".

    upstreams: the servers that run it, empty where it is run here. source: who told its signature then.
    config, metadata: what they tell of it; None where ours is told. last_good: its last good answers, where its
    fallback chain asks for them. gaps: fallbacks that its fallback chain should have and has not, in words, or "".
    """

    checked: CheckedVersion
    served: Served
    note: str
    upstreams: tuple[str, ...] = ()
    source: str = ""
    platform: str = "onnxruntime_onnx"
    backend: str = "onnxruntime"
    config: Any = None
    metadata: Any = None
    last_good: LastGoodAnswers | None = None
    gaps: str = ""

    @property
    def key(self) -> Key:
        return self.engine.name, self.engine.version

    @property
    def engine(self) -> Engine:
        return self.served.engine

    @property
    def profile(self) -> Profile | None:
        return self.checked.profile


Opened = Mapping[Key, OpenVersion]


def shared_here(models: Iterable[OpenVersion]) -> list[CheckedVersion]:
    """Versions whose shares can be decided here: that run here, or that requests to their upstreams can name."""
    return [model.checked for model in models if not model.upstreams or model.checked.interface]


class Slow(ProblemsFound):
    """It was given up, now or before."""


class LoadLimits(Struct, frozen=True):
    """seconds: the longest that one version may take to be opened and tried. slow: hashes of files that took longer
    before, and are not tried again. trials: what the runtime does not survive. deadly: names, versions and load digests
    that a worker died of."""

    seconds: float
    trials: Trials
    slow: frozenset[str] = frozenset()
    deadly: frozenset[tuple[str, str, str]] = frozenset()

    def attempt(self, checked: CheckedVersion, work: Callable[[Attempt[T]], T]) -> T:
        """What `work` returns. Raises ProblemsFound, Slow among them."""
        where = str(checked.artifact.file)
        if checked.artifact.sha256 in self.slow:
            how = "Replace the file, or change load_timeout; a server that is started again tries it again"
            raise Slow([Problem("the model took too long to load before, and is not tried again", where, how=how)])
        name = f"model {checked.name} version {checked.version}"
        identity = checked.name, checked.version, checked.load_digest
        if identity in self.deadly:
            what = "a worker died when it loaded the model or ran its canary, and it is not loaded again"
            raise ProblemsFound([Problem(what, where, how=DEADLY_HOW)])

        def noted(attempt: Attempt[T]) -> T:
            with LoadNote(*identity):
                return work(attempt)

        def waiting(spent: float) -> None:
            log.info("%s is still loading after %.0f of at most %g s", name, spent, self.seconds)

        try:
            self._try_in_child(checked.artifact)
            return within(self.seconds, noted, waiting)
        except ChildEnded as ended:
            log.error("%s is given up: %s", name, ended)
            why, how = f"{ended} ({checked.artifact.costly})", "Raise load_timeout if it is only large"
            what = "the model takes too long to load" if "longer" in why else "ONNX Runtime does not survive the model"
            raise Slow([Problem(what, where, why, how)]) from None
        except TookTooLong as error:
            log.error("%s is given up: %s", name, error)
            why = f"{error}{'; its thread runs on until the worker is replaced' if error.is_stuck else ''}"
            how = "Raise load_timeout if it is only large; a loop without an end is never served"
            raise Slow([Problem("the model takes too long to load", where, why, how)]) from None
        except ValueError as error:
            how = mend(str(error))
            raise ProblemsFound([Problem("ONNX Runtime cannot load the model", where, str(error), how)]) from None

    def _try_in_child(self, artifact: Artifact) -> None:
        """Once for each file. Raises ChildEnded, ValueError."""
        if artifact.costly and artifact.data and not self.trials.was_opened(artifact):
            try_in_child(artifact.data, self.seconds)
            self.trials.note_opened(artifact)


def open_models(
    inventory: Inventory, before: Opened, limits: LoadLimits, progress: Progress = lambda name: None
) -> tuple[list[OpenVersion], list[Refused]]:
    """Opens and warms every version that is not open, and those that cannot be. Takes seconds; blocks.

    before: what is open; a version whose file and batching are the same keeps its engine. progress is called with each
    model's name before it is opened. Raises ProblemsFound where there are models and no runtime.
    """
    if inventory.models:  # 12 MiB that a server whose models all run on upstreams does without
        runtime()
    files = [checked.artifact for checked in inventory.models if checked.artifact.sha256 not in limits.slow]
    limits.trials.begin(files)
    opened: list[OpenVersion] = []
    refused: list[Refused] = []
    for checked in inventory.models:
        kept = before.get((checked.name, checked.version))
        if kept is not None and _runs_the_same(kept, checked):
            opened.append(OpenVersion(_without_data(checked), Served(kept.engine), kept.note))
            continue
        progress(f"{checked.name} version {checked.version}")
        try:
            with as_problem(f"model {checked.name} version {checked.version}"):
                opened.append(limits.attempt(checked, partial(_open, checked, limits.trials)))
            _tell_twins(checked, inventory)
        except Slow as slow:
            refused.append(Refused(checked.name, checked.version, slow.problems, slow=checked.artifact.sha256))
        except ProblemsFound as found:
            refused.append(Refused(checked.name, checked.version, found.problems))
    return opened, refused


def _tell_twins(checked: CheckedVersion, inventory: Inventory) -> None:
    """Where signatures are asked for: an old version that is signed again as a new one is signed well."""
    digests = {(each.name, each.version): each.provenance.digest for each in inventory.models}
    proved = checked.provenance
    if (proved.signer or proved.doubt) and (same := twins((checked.name, checked.version), digests)):
        log.warning("model %s version %s has the same files as %s", checked.name, checked.version, same)


def load_changed(before: Opened, config: Config, again: Collection[Key] = (), load_unseen: Load = load_unseen) -> Load:
    """Reads what may differ from what is open, and `again`; the artifact of a version that stays holds no data."""

    def load(name: str, version: Version, files: VersionFiles, scan: bool) -> Artifact:
        kept = before.get((name, str(version.number)))
        if kept is not None and not kept.upstreams and kept.key not in again:
            artifact = kept.checked.artifact
            stays = kept.checked.settings.batching == config.settings(name).batching
            stays = stays and (artifact.findings is not None or not scan)
            known = stays and artifact.file == version.file and artifact.is_unchanged
            if known and files.vouches(artifact.files, artifact.hashes):
                return artifact
        return load_unseen(name, version, files, scan)

    return load


def _runs_the_same(kept: OpenVersion, checked: CheckedVersion) -> bool:
    """Whether a new engine would run as the old one does: of all settings only batching is the engine's."""
    return (
        not kept.upstreams
        and kept.checked.artifact.sha256 == checked.artifact.sha256
        and kept.checked.settings.batching == checked.settings.batching
    )


def _open(checked: CheckedVersion, trials: Trials, attempt: Attempt[OpenVersion]) -> OpenVersion:
    engine = attempt.engine(Engine(checked.name, checked.version, checked.artifact.data))
    engine.digest = checked.artifact.sha256
    trials.tell(engine, checked.artifact)
    notes = []
    if checked.artifact.unpredictable:
        engine.keep_off_loop()
        notes.append(f"its time depends on its inputs' values ({checked.artifact.unpredictable}): always in a thread")
    if checked.artifact.deadly:
        notes.append(f"values of its inputs can end a worker: {'; '.join(checked.artifact.deadly)}")
    notes.append(warm_up(engine, checked.settings.batching.max, checked.artifact.entangled))
    if checked.canary is not None:
        if failed := failure(checked.canary, engine):
            raise ProblemsFound([failed])
        log.info("model %s version %s gives what its canary expects", checked.name, checked.version)
    note = "; ".join(filter(None, notes))
    artifact, proved = checked.artifact, checked.provenance
    told = f", opened with {artifact.sealed}" if artifact.sealed else ""
    told += f", signed by {proved.signer} ({proved.kind})" if proved.signer else ""
    log.info("model %s version %s loaded, sha256 %s%s", checked.name, checked.version, artifact.sha256, told)
    if note:
        log.warning("model %s version %s: %s", checked.name, checked.version, note)
    return OpenVersion(_without_data(checked), Served(engine), note)


def _without_data(checked: CheckedVersion) -> CheckedVersion:
    """ONNX Runtime has its own copy: the bytes are not needed any more."""
    return replace(checked, artifact=replace(checked.artifact, data=b""))


def try_open(checked: CheckedVersion, limits: LoadLimits) -> list[Problem]:
    """What `open_models` would say of the version."""
    runtime()
    try:
        engine = limits.attempt(checked, partial(_open, checked, limits.trials)).engine
    except ProblemsFound as found:
        return list(found.problems)
    declared, found_specs = (checked.artifact.inputs, checked.artifact.outputs), (engine.inputs, engine.outputs)
    engine.close()
    where, how = str(checked.artifact.file), "Export it again"
    return [
        Problem(f"ONNX Runtime sees other {kind} than the file declares", where, how=how)
        for kind, ours, theirs in zip(("inputs", "outputs"), declared, found_specs, strict=True)
        if [(spec.name, spec.datatype) for spec in ours] != [spec[:2] for spec in theirs]
    ]


def equip(
    models: list[OpenVersion], before: Opened, weights: Weights, out: Mapping[str, Collection[str]]
) -> list[OpenVersion]:
    """Gives every model its settings and its fallback chain, once all of them are open. Raises ProblemsFound.

    out: versions by model that may not answer, for another model neither.
    """
    able = [model for model in models if model.checked.version not in out.get(model.checked.name, ())]
    standing = {name: model.served for name, model in first_of_each(able, weights).items()}
    return [_equip(model, standing, before.get(model.key)) for model in models]


def equip_for(models: Sequence[OpenVersion], standing: Mapping[str, Served]) -> list[OpenVersion]:
    """The same of versions that nothing runs. A model of `standing` that cannot stand in is left out, and told."""
    return [_equip(model, standing, model) for model in models]


def first_of_each(models: Iterable[OpenVersion], weights: Weights) -> dict[str, OpenVersion]:
    """By name the version that stands for the model."""
    by_version: dict[str, dict[str, OpenVersion]] = {}
    for model in sorted(models, key=lambda model: version_order(model.served.version)):
        by_version.setdefault(model.checked.name, {})[model.served.version] = model
    return {name: versions[primary([*versions], weights.get(name))] for name, versions in by_version.items()}


def by_name(models: list[OpenVersion]) -> list[list[Served]]:
    """The versions of each model, ascending, as the data plane takes them."""
    ordered = sorted(models, key=lambda m: (m.checked.name, version_order(m.served.version)))
    return [[m.served for m in group] for _, group in groupby(ordered, key=lambda m: m.checked.name)]


def _equip(model: OpenVersion, standing: Mapping[str, Served], before: OpenVersion | None) -> OpenVersion:
    checked, served, settings = model.checked, model.served, model.checked.settings
    admission = settings.admission
    served.set_admission(*_concurrency(admission.concurrency), admission.queue, admission.priority_across_identities)
    served.set_deadline(settings.deadline or 0)
    served.set_run_memory(settings.run_memory)
    if settings.limit is not None:
        served.set_limit(*settings.limit.native)
    if checked.profile is not None:
        inputs = [spec.name for spec in checked.profile.layout.inputs]
        served.set_anomaly(
            checked.profile.kernel,
            _named(inputs, served.engine),
            settings.anomaly.mode,
            settings.anomaly.false_positive_rate,
            settings.anomaly.unscored == "allow",
        )
    if checked.outputs.classes is not None:
        served.set_class_scores(checked.outputs.classes, checked.outputs.logits)
    if checked.outputs.guards:
        content = checked.artifact.sha256 or checked.version
        served.set_output_guards(OutputGuards(model.engine, content, list(checked.outputs.guards)))
    last_good = _last_good_answers(model, before)
    missing: list[str] = []
    fallbacks: list[Served | LastGoodAnswers | list[tuple[tuple[int, ...], bytes, bool]]] = []
    for fallback in checked.fallbacks:
        if fallback.value is not None:
            fallbacks.append([(o.shape, o.raw, o.repeats) for o in fallback.value.outputs])
        elif fallback.last_good is not None:
            assert last_good is not None
            fallbacks.append(last_good)
        elif fallback.model is not None:
            if (other := standing.get(fallback.model)) is not None:
                fallbacks.append(other)
            else:
                missing.append(fallback.model)
    try:
        served.set_fallbacks(fallbacks)
    except ValueError as error:
        if before is None or before.checked is not checked:
            where = f"model {checked.name} version {checked.version}, fallback"
            raise ProblemsFound(
                [Problem("a model cannot stand in for another", where, str(error), "Name another")]
            ) from error
        # it stays as it was, and the model on its fallback chain has changed
        served.set_fallbacks([fallback for fallback in fallbacks if not isinstance(fallback, Served)])
        missing += [fallback.model for fallback in checked.fallbacks if fallback.model is not None]
    gaps = f"its fallback {', '.join(missing)} is not served" if missing else ""
    return replace(model, last_good=last_good, gaps=gaps)


def _concurrency(concurrency: int | str) -> tuple[float, float]:
    """Floor and ceiling of the requests with a backend at a time; a ceiling of 0 is none."""
    if isinstance(concurrency, int):
        return concurrency, concurrency
    return (FEWEST, LARGEST_CONCURRENCY) if concurrency == "adaptive" else (0, 0)


def _last_good_answers(model: OpenVersion, before: OpenVersion | None) -> LastGoodAnswers | None:
    """Last good answers stay where model and fallback are the same: another file's answers are none of this one's."""
    wanted = next((fallback.last_good for fallback in model.checked.fallbacks if fallback.last_good is not None), None)
    if wanted is None:
        return None
    fallbacks = [fallback.last_good for fallback in before.checked.fallbacks] if before else []
    if before is not None and before.engine is model.engine and before.last_good is not None and wanted in fallbacks:
        return before.last_good
    return LastGoodAnswers(wanted.entries, wanted.max_age, wanted.memory)


def _named(inputs: list[str], engine: Engine) -> list[str]:
    """The profile's inputs by the model's names: one fitted on a plain table has its own name for the only input."""
    names = [name for name, _, _ in engine.inputs]
    return inputs if all(name in names for name in inputs) else names
