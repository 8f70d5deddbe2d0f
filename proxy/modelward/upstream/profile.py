"""The training profile of a model that upstreams serve: there is no repository that it could be found in."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING

from modelward.config.model import Anomaly
from modelward.fingerprint import Fingerprint, fingerprint
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
    _check_fits(name, profile, anomaly.profile, inputs)
    return profile, anomaly.profile


class Profiles:
    """Those of the models of one configuration. before: those of the one that it follows. kept: models whose profile
    stays as it was before, whatever the file holds now."""

    def __init__(self, before: Profiles | None = None, kept: Container[str] = ()) -> None:
        self._before = before._used if before is not None else {}
        self._kept = kept
        self._used: dict[str, tuple[Profile | None, Path | None, Fingerprint]] = {}

    def of(
        self, name: str, anomaly: Anomaly, inputs: tuple[TensorSpec, ...]
    ) -> tuple[Profile | None, Path | None, Fingerprint]:
        """The profile, its file, and the file's fingerprint from before it was read. Raises UnusableProfile."""
        if name in self._kept:
            profile, file, seen = self._before[name]
            _check_fits(name, profile, file, inputs)
        else:
            seen = fingerprint([anomaly.profile]) if anomaly.profile else ()
            profile, file = load_profile(name, anomaly, inputs)
        self._used[name] = profile, file, seen
        return profile, file, seen


def _check_fits(name: str, profile: Profile | None, file: Path | None, inputs: tuple[TensorSpec, ...]) -> None:
    reason = None if profile is None else profile.matches(row_signature(inputs))
    if reason is not None:
        what, how = f"the profile {file} does not fit the model", "Fit it on the inputs of this model"
        raise UnusableProfile([Problem(what, f"model {name}", reason, how)])
