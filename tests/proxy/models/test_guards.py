"""What READY, status and check say of each guard."""

from types import SimpleNamespace
from typing import Any

from modelward.config.load import load
from modelward.models.guards import guards


def test_limits_say_how_many_overrides_they_have() -> None:
    peer = '{"rate": "1000/s", "overrides": {"10.0.0.0/8": {"rate": "5/s"}}}'
    config = load(sets=[f"limits.peer={peer}", 'limits.total={"rate": "7/s"}'], environ={})
    model: Any = SimpleNamespace(settings=config.settings("m"), profile=None, fallbacks=(), undecoded=None)
    assert guards(config, model)["limits"] == "peer 1000/s (1 override), total 7/s"
