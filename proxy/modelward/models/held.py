"""Models of the repository of which no version may answer. A stand-in for each of their versions is in the data plane:
nothing runs it, so that fallback chains answer in its place, and clients are told that the model is there.

What a request looks like is known of a version that is open and waits for an approval. Others are not open, and files
without a signature that counts are not even read: there it is the first model of the fallback chain that tells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from msgspec.structs import replace

from modelward.config.model import ModelSettings
from modelward.config.schema import Config
from modelward.fallback.value import FallbackValue
from modelward.models.artifact import Artifact
from modelward.models.inventory import CheckedFallback, CheckedVersion
from modelward.models.opening import OpenVersion, equip_for
from modelward.problem import ProblemsFound
from modelward.repository.refused import Refused
from modelward.tensors import TensorSpec
from modelward_native.backend.engine import Engine, Remote
from modelward_native.request.served import Served


def stand_ins(
    config: Config, models: Iterable[OpenVersion], refused: Collection[Refused], standing: Mapping[str, OpenVersion]
) -> list[OpenVersion]:
    """Of all models that no version answers. models: that are open. standing: by name those that answer."""
    held = [_of_open(model) for model in models if model.checked.name not in standing]
    known, open_ = {*standing, *(each.name for each in refused if not each.version)}, {each.key for each in held}
    barred = {(each.name, each.version) for each in refused if each.barred and each.name not in known} - open_
    held += [_of_barred(name, version, config.settings(name), standing) for name, version in barred]
    return equip_for(held, {name: model.served for name, model in standing.items()})


def _stand_in(checked: CheckedVersion, like: Engine | None) -> OpenVersion:
    """like: has its inputs and outputs. Without, its requests are not looked into."""
    inputs, outputs = (like.inputs, like.outputs) if like is not None else ((), ())
    return OpenVersion(checked, Served(Engine(checked.name, checked.version, Remote(inputs, outputs, None))), "")


def _of_open(model: OpenVersion) -> OpenVersion:
    """Without what its own answers would be held against, and without answers of its own."""
    fallbacks = tuple(fallback for fallback in model.checked.fallbacks if fallback.last_good is None)
    return _stand_in(replace(model.checked, profile=None, canary=None, fallbacks=fallbacks), model.engine)


def _of_barred(name: str, version: str, settings: ModelSettings, standing: Mapping[str, OpenVersion]) -> OpenVersion:
    named = (fallback.model for fallback in settings.fallback)
    chain = [standing[other] for other in named if other is not None and other in standing]
    like = next((model for model in chain if model.engine.inputs), None)
    outputs = like.checked.artifact.outputs if like is not None else ()
    artifact = Artifact(Path(), b"", "", (), outputs, 0)
    fallbacks = _fallbacks(settings, outputs)
    checked = CheckedVersion(name, version, artifact, settings, None, None, fallbacks)
    return _stand_in(checked, like.engine if like is not None else None)


def _fallbacks(settings: ModelSettings, outputs: tuple[TensorSpec, ...]) -> tuple[CheckedFallback, ...]:
    """Without outputs nothing tells what a constant is: [[0.5]] may be FP32 or FP64."""
    found = []
    for fallback in settings.fallback:
        if fallback.model is not None:
            found.append(CheckedFallback(model=fallback.model))
        elif fallback.value is not None and outputs:
            try:
                found.append(CheckedFallback(value=FallbackValue.compile(outputs, fallback.value, "")))
            except ProblemsFound:
                break  # it is for other outputs
    return tuple(found)
