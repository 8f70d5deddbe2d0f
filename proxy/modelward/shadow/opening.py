"""Shadows made ready for the data plane: sessions or connections of their own, and whose requests they get."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from msgspec import Struct

from modelward.config.model import Batching
from modelward.config.schema import Config
from modelward.config.shadow import Shadow
from modelward.defect import as_problem
from modelward.models.inventory import CheckedVersion
from modelward.models.limited import Attempt
from modelward.models.opening import LoadLimits
from modelward.models.trial import Trials
from modelward.models.warmup import warm_up
from modelward.problem import Problem, ProblemsFound
from modelward.repository.refused import Refused
from modelward.upstream.upstream_pool import UpstreamPool
from modelward_native.backend.engine import Engine, Remote
from modelward_native.request.served import Served
from modelward_native.shadow.shadow import Shadow as NativeShadow
from modelward_native.shadow.shadow import link_shadow

log = logging.getLogger("modelward.shadow")

Key = tuple[str, str]  # the model's name, and the shadow's


class OpenShadow(Struct, frozen=True):
    """One shadow of one model. content: the hash of the file that runs here, or the addresses of its servers."""

    model: str
    settings: Shadow
    batching: Batching
    content: str
    native: NativeShadow

    @property
    def key(self) -> Key:
        return self.model, self.settings.name

    @property
    def engine(self) -> Engine:
        return self.native.served.engine

    @property
    def is_local(self) -> bool:
        """It runs in this process."""
        return self.engine.pool is None


def wanted(config: Config, before: Iterable[OpenShadow]) -> set[Key]:
    """(model, version) of the shadows that run here and are not open yet: their files must be read."""
    known = {shadow.key for shadow in before if shadow.is_local}
    return {
        (name, shadow.version)
        for name, settings in config.models.items()
        if not settings.upstreams
        for shadow in settings.shadow
        if shadow.version is not None and (name, shadow.version) not in known
    }


def open_local(
    checked: Sequence[CheckedVersion],
    before: Sequence[OpenShadow],
    limits: LoadLimits,
    progress: Callable[[str], None],
) -> tuple[list[OpenShadow], list[Refused]]:
    """Opens and warms the shadows that are versions of models that run here; and which cannot be. Blocks for seconds.

    before: what is open; a shadow whose file and batching are the same keeps its session. That is never the session
    which serves clients: runs, their memory and their locks are the shadow's alone. A version that is refused as a
    version is no shadow either, and not told again.
    """
    versions = {(model.name, model.version): model for model in checked}
    known = {shadow.key: shadow for shadow in before if shadow.is_local}
    opened: list[OpenShadow] = []
    refused: list[Refused] = []
    settings = {model.name: model.settings for model in checked}
    for name, shadow in ((model, shadow) for model in settings for shadow in settings[model].shadow):
        version = versions.get((name, shadow.version)) if shadow.version is not None else None
        if shadow.version is None or version is None:
            continue
        kept, content, batching = known.get((name, shadow.version)), version.artifact.sha256, settings[name].batching
        if kept is not None and (kept.content, kept.batching) == (content, batching):
            opened.append(_shadow(name, shadow, batching, content, kept.engine))
            continue
        progress(f"{name} shadow {shadow.version}")
        try:
            with as_problem(f"model {version.name} version {version.version}"):
                engine = limits.attempt(version, partial(_opened, version, limits.trials))
        except ProblemsFound as found:
            refused.append(Refused(name, shadow.version, found.problems))
        else:
            opened.append(_shadow(name, shadow, batching, content, engine))
    return opened, refused


def open_remote(config: Config, pool_of: Callable[[str, Shadow], UpstreamPool | None]) -> list[OpenShadow]:
    """Shadows that servers run: they get the bytes of requests, and nothing is validated against a signature.

    pool_of: the connections of a model's shadow, None where it runs here.
    """
    opened = []
    for name, settings in config.models.items():
        for shadow in settings.shadow:
            pool = pool_of(name, shadow)
            if pool is not None:
                content = " ".join(group.address.text for group in pool.groups)
                engine = Engine(name, shadow.version or "", Remote((), (), pool.pool))
                opened.append(_shadow(name, shadow, settings.batching, content, engine))
    return opened


def equip(served: Served, content: str, shadows: Iterable[OpenShadow]) -> None:
    """Gives a version the shadows of its model. content: the version's own. Raises ProblemsFound."""
    for shadow in shadows:
        try:
            link_shadow(served, shadow.native, _digest(content))
        except ValueError as error:
            where, how = f"models.{shadow.model}.shadow", "A shadow takes the same inputs"
            what = f"{shadow.settings.name} cannot shadow version {served.version}"
            raise ProblemsFound([Problem(what, where, str(error), how)]) from error


def notes(config: Config, answering: Mapping[str, str]) -> list[Problem]:
    """Worth telling: models whose only shadow is the version that answers. Beside another it is the measure of noise.

    answering: the version of a model that has most of its requests.
    """
    only = {name: settings.shadow[0] for name, settings in config.models.items() if len(settings.shadow) == 1}
    return [
        Problem(
            f"the shadow {shadow.name} is the version that answers",
            f"models.{model}.shadow",
            "it measures how much the model disagrees with itself",
            'To try it against another version, give that the requests: versions: {"OTHER": 100}',
        )
        for model, shadow in only.items()
        if shadow.version is not None and not config.models[model].upstreams and answering.get(model) == shadow.version
    ]


def _opened(version: CheckedVersion, trials: Trials, attempt: Attempt[Engine]) -> Engine:
    engine = attempt.engine(Engine(version.name, version.version, version.artifact.data))
    engine.digest = version.artifact.sha256
    trials.tell(engine, version.artifact)
    engine.run_in_background()
    if note := warm_up(engine, version.settings.batching.max, version.artifact.entangled):
        log.warning("model %s shadow %s: %s", version.name, version.version, note)
    log.info("model %s shadow %s loaded, sha256 %s", version.name, version.version, version.artifact.sha256)
    return engine


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).hexdigest()[:32].encode()


def _shadow(model: str, shadow: Shadow, batching: Batching, content: str, engine: Engine) -> OpenShadow:
    only = shadow.only
    counted = json.dumps([content, shadow.tolerance, only.model_dump(mode="json") if only is not None else None])
    native = NativeShadow(
        Served(engine),
        shadow.name,
        _digest(counted),
        fraction=shadow.fraction,
        anomalous=only.anomalous if only is not None else None,
        patterns=only.identity if only is not None else (),
        kinds=only.kinds if only is not None else (),
        deadline=shadow.deadline,
        permits=shadow.concurrency,
        bytes_limit=shadow.inflight_bytes,
        warmup=shadow.warmup,
        tolerance=shadow.tolerance,
    )
    return OpenShadow(model, shadow, batching, content, native)
