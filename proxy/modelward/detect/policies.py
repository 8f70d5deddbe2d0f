"""What the configuration says about suspected identities, as the data plane knows it."""

from __future__ import annotations

from modelward.config.access import By, pattern, sources
from modelward.config.detection import ModelDetection
from modelward.config.schema import Config
from modelward_native.detect.policy import Policies


class Patterns:
    """The patterns of detection.identities of all models, by number: an identity knows by one bit each which fit it."""

    def __init__(self, config: Config) -> None:
        settings = (each.detection.identities for each in config.models.values())
        found = dict.fromkeys((name, each.by) for identities in settings for name, each in identities.items())
        self._number = {key: number for number, key in enumerate(found)}
        self._known = [(sources(by), pattern(name)) for name, by in found]

    def bits(self, source: str, name: str) -> int:
        """Of an identity that `source` (certificate, jwt, key) has proved."""
        fitting = (
            number for number, (proofs, fits) in enumerate(self._known) if source in proofs and fits.fullmatch(name)
        )
        return sum(1 << number for number in fitting)

    def number(self, name: str, by: By) -> int:
        return self._number[name, by]


def policies(settings: ModelDetection, patterns: Patterns) -> Policies | None:
    """None where no identity is watched."""
    if not settings.is_on:
        return None
    some = [(patterns.number(name, settings.identities[name].by), settings.of(name)) for name in settings.ordered]
    return Policies([_native(None, settings), *(_native(number, own) for number, own in some)])


def _native(
    number: int | None, settings: ModelDetection
) -> tuple[int | None, str, str, bool, int | None, str, int, int]:
    answers = (settings.mode, settings.strongest, settings.labelled, settings.budget, settings.near_duplicates)
    return number, *answers, settings.delay, settings.block
