"""What a proposal of a configuration says first: what approvals of versions are worth once it is followed."""

from __future__ import annotations

from typing import Any

from modelward.config.schema import Config
from modelward.promotion.notes import LISTED, named_of
from modelward.promotion.state import State

TENSORS = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
SIGNATURE = {"inputs": TENSORS, "outputs": TENSORS}
MOVED = "m: its approved versions would come from other servers"


def config(promote: int = 1, upstreams: tuple[str, ...] = ("a:1",), **models: Any) -> Config:
    return Config.model_validate({
        "listen": {"admin": "unix:/run/modelward.sock"},
        "operators": {"bindings": [{"user": 1, "roles": ["approver"]}]},
        "approvals": {"promote": promote},
        "upstreams": list(upstreams),
        "models": models,
    })  # fmt: skip


def told(wanted: Config, now: Config) -> list[str]:
    return named_of(wanted, State(), now)


def test_a_declared_signature_takes_the_versions_of_its_model_out_of_approvals() -> None:
    now, declared = config(), {"m": {"upstreams": ["a:1"], "signature": SIGNATURE}}
    assert told(config(**declared), now) == ["approvals will not cover the versions of m"]
    assert told(config(**declared), config(**declared)) == told(now, config(**declared)) == []
    assert told(config(promote=0, **declared), now) == []
    many = {f"m{n}": declared["m"] for n in range(LISTED + 2)}
    assert told(config(**many), now)[LISTED:] == ["and 2 more models"]


def test_other_upstreams_are_named_and_the_same_ones_are_not() -> None:
    now = config()
    assert told(config(m={"upstreams": ["b:1"]}), now) == [MOVED]
    assert told(now, config(m={"upstreams": ["b:1"]})) == [MOVED]
    assert told(config(m={"upstreams": ["a:1"]}), now) == []
    assert told(config(promote=0, m={"upstreams": ["b:1"]}), now) == []
    own = {"m": {"upstreams": ["b:1"]}}
    assert told(config(upstreams=("c:1",), **own), config(**own)) == [
        "upstreams: approved versions of the models there would come from other servers"
    ]
