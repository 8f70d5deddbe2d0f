"""Identities that operators hold, and pardon: also once no model watches them any more."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from modelward.config.schema import Config
from modelward.problem import ProblemsFound
from modelward.supervisor.restrictions import Restrictions
from modelward_native.region.region import Region


class Served:
    """One model, whose detection a test turns on and off."""

    def __init__(self) -> None:
        self.mode = "off"
        pool: Any = SimpleNamespace(region=Region(), report=SimpleNamespace(versions={"fraud": ["1"]}))
        trail: Any = SimpleNamespace(note=lambda record: None)
        self.restrictions = Restrictions(
            lambda: pool, self.config, lambda: trail, lambda what, who, about: None, lambda: {}
        )

    def config(self) -> Config:
        detection = {"identities": 1024}
        return Config.model_validate({"detection": detection, "models": {"fraud": {"detection": {"mode": self.mode}}}})


def test_what_was_remembered_is_pardoned_though_detection_is_off_now() -> None:
    served = Served()
    served.mode = "act"
    suspicion = served.restrictions.suspicion()
    assert suspicion is not None
    [key] = [each for each in served.restrictions._keys("10.0.0.1", "fraud")]
    assert suspicion.pin(key, "block", time.monotonic_ns(), time.monotonic_ns() + 10**12)
    served.mode = "off"
    assert served.restrictions.pardon("10.0.0.1", "") == 1
    record = suspicion.read(key, time.monotonic_ns())
    assert record is not None
    assert record["step"] == "observe"
    assert served.restrictions.pardon_all("fraud") == 0


def test_where_no_model_has_watched_identities_there_is_nothing_to_pardon() -> None:
    restrictions = Served().restrictions
    for pardon in (lambda: restrictions.pardon("team-a", "fraud"), lambda: restrictions.pardon_all("")):
        with pytest.raises(ProblemsFound, match=r"there is nothing to pardon.*no model has watched identities"):
            pardon()
    with pytest.raises(ProblemsFound, match="there is no such model"):
        restrictions.pardon("team-a", "fraudd")
