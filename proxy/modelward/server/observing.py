"""What of a version's requests is observed: told to the data plane when the version gets its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelward.config.model import ModelSettings
from modelward.config.schema import Config
from modelward.models.opening import OpenVersion
from modelward.observe.source import Source, Tensor, Trained

if TYPE_CHECKING:
    from modelward.score.profile import Profile


def observe(model: OpenVersion, config: Config) -> None:
    """After its profile is set. Of a model that passes undecoded nothing could be seen."""
    checked, engine = model.checked, model.engine
    share = share_of(checked.settings)
    if not share or checked.undecoded is not None:
        return
    layout = None
    trained: tuple[Trained, ...] = ()
    if checked.profile is not None and checked.settings.anomaly.mode != "off":
        names = [name for name, _, _ in engine.inputs]
        inputs = checked.profile.layout.inputs
        # a profile of a plain table has its own name for the only input
        layout = tuple((each.name if each.name in names else names[0], each.kind, each.elements) for each in inputs)
        trained = trained_of(checked.profile) if checked.settings.drift is not None else ()
    source = Source(
        engine.name,
        engine.version,
        checked.provenance.digest or checked.artifact.sha256,
        share,
        tuple(Tensor(name, datatype, tuple(shape)) for name, datatype, shape in engine.inputs),
        tuple(Tensor(name, datatype, tuple(shape)) for name, datatype, shape in engine.outputs),
        engine.has_batch_axis,
        layout,
        tuple(name for name, output in checked.settings.outputs.items() if output.classes),
        trained,
    )
    # without a profile, drift is watched in the inputs themselves
    tensors = checked.settings.capture is not None or layout is None
    model.served.set_observed(share, source.encode(), tensors, config.observations.message)


def trained_of(profile: Profile) -> tuple[Trained, ...]:
    """Of the features that are watched."""
    from modelward.drift.table import spaced  # noqa: PLC0415 - bring numpy, which a profile has brought
    from modelward.score.marginals import marginals  # noqa: PLC0415

    layout = profile.layout
    watched = [i for i in spaced(layout.features + layout.columns) if i < layout.features]
    found = marginals(profile.geometry, watched)
    return tuple(Trained(i, each.edges, each.shares) for i, each in zip(watched, found, strict=True))


def share_of(settings: ModelSettings) -> float:
    """The largest that anything looks at; each takes its own part of that."""
    return max((each.share for each in (settings.capture, settings.drift) if each is not None), default=0.0)
