"""The training profile of a model that upstreams serve: there is no repository that it could be found in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelward.config.model import Anomaly
from modelward.problem import Problem, ProblemsFound
from modelward.score.errors import ProfileError
from modelward.tensors import TensorSpec, row_signature

if TYPE_CHECKING:
    from modelward.score import Profile


class UnusableProfile(ProblemsFound):
    """The profile of one model cannot be used."""


def is_on(anomaly: Anomaly) -> bool:
    """Whether the settings ask for requests to be scored: the default mode without a profile does not."""
    return anomaly.mode != "off" and (anomaly.profile is not None or anomaly.mode != "observe")


def load_profile(name: str, anomaly: Anomaly, inputs: tuple[TensorSpec, ...]) -> tuple[Profile | None, Path | None]:
    """The profile and its file; neither where the guard is off. Raises UnusableProfile."""
    where = f"model {name}"
    if not is_on(anomaly):
        return None, None
    if anomaly.profile is None:
        how = f"Set models.{name}.anomaly.profile to the file that modelward profile fit has written"
        raise UnusableProfile([Problem(f"anomaly.mode {anomaly.mode} needs a profile", where, how=how)])
    from modelward.score import Profile  # noqa: PLC0415 - brings numpy: only where requests are scored

    try:
        profile = Profile.load(anomaly.profile)
    except (ProfileError, OSError) as error:
        how = f"Fit it again: modelward profile fit MODEL.onnx --data FILE --out {anomaly.profile}"
        raise UnusableProfile([Problem("the profile cannot be used", where, str(error), how)]) from error
    reason = profile.matches(row_signature(inputs))
    if reason is not None:
        how = "Fit it on the inputs of this model"
        raise UnusableProfile([Problem(f"the profile {anomaly.profile} does not fit the model", where, reason, how)])
    return profile, anomaly.profile
