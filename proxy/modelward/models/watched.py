"""Which models watch identities, in the words of the READY table, and what they lack to do it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from modelward.config.detection import ModelDetection
from modelward.config.schema import Config
from modelward.models.inventory import CheckedVersion
from modelward.problem import Problem
from modelward_native.detect.suspicion import STEPS


def words(config: Config, names: Iterable[str]) -> str:
    """`fraud: act up to block, 2 overrides; ranking: observe`; empty where no model watches identities."""
    watched = {name: config.settings(name).detection for name in dict.fromkeys(names)}
    return "; ".join(f"{name}: {_of(each)}" for name, each in watched.items() if each.is_on)


def notes(config: Config, models: Iterable[CheckedVersion]) -> Iterator[Problem]:
    """What their settings ask for and cannot have."""
    for name, versions in groupby(models, key=lambda model: model.name):
        settings, known = config.settings(name).detection, [*versions]
        if not settings.is_on:
            continue
        if without := [each.version for each in known if each.profile is None]:
            yield Problem(
                "no evidence against identities is gathered: there is no profile",
                f"model {name} version {', '.join(without)}",
                "they get what operators hold them at, and nothing else",
                "Fit one: modelward profile fit; or set anomaly.mode: observe where it is off",
            )
        if not any(each.classes for each in config.settings(name).outputs.values()):
            blind = "walks along a boundary between classes, and changed labels, are not seen"
            steps = (
                "the steps round, top_class and delay of detection change no answer"
                if _may_reach(settings, "round")
                else ""
            )
            yield Problem(
                f"no output holds scores of classes: {'; '.join(filter(None, (steps, blind)))}",
                f"model {name}",
                how=f"Declare it where it has classes: models.{name}.outputs: {{NAME: {{classes: true}}}}",
            )
        if not config.settings(name).fallback and _may_reach(settings, "fallback"):
            yield Problem(
                "the step fallback of detection refuses: the model has no fallback",
                f"model {name}",
                how="Add a fallback, or set detection.strongest to a milder step",
            )


def _of(settings: ModelDetection) -> str:
    told = f"act up to {settings.strongest}" if settings.mode == "act" else settings.mode
    count = len(settings.identities)
    return told + (f", {count} override{'' if count == 1 else 's'}" if count else "")


def _may_reach(settings: ModelDetection, step: str) -> bool:
    """Without a person."""
    all_ = (settings, *(settings.of(name) for name in settings.identities))
    return any(each.mode == "act" and STEPS.index(each.strongest) >= STEPS.index(step) for each in all_)
