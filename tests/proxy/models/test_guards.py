"""What READY, status and check say of each guard."""

from types import SimpleNamespace
from typing import Any

from modelward.config.load import load
from modelward.models.guards import guards


def test_limits_say_how_many_overrides_they_have() -> None:
    peer = '{"rate": "1000/s", "overrides": {"10.0.0.0/8": {"rate": "5/s"}}}'
    identity = '{"overrides": {"a": {"rate": "5/s"}, "b": {"rate": "6/s"}}}'
    access = '{"keys": "k.json", "rules": []}'
    config = load(sets=[f"limits.identity={identity}", f"access={access}", 'limits.total={"time": "2s/s"}'], environ={})
    model: Any = SimpleNamespace(settings=config.settings("m"), profile=None, fallbacks=(), undecoded=None)
    assert guards(config, model)["limits"] == "identity (2 overrides), total 2s/s"
    config = load(sets=[f"limits.peer={peer}", 'limits.total={"rate": "7/s"}'], environ={})
    assert guards(config, model)["limits"] == "peer 1000/s (1 override), total 7/s"
