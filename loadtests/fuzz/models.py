"""The models a fuzzed connection finds: a profile, fallback chains, strings, and one model that runs in a thread."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from modelward.models.runtime import runtime
from modelward.models.warmup import warm_up
from modelward.score import Profile
from modelward_native.backend.engine import Engine, Remote
from modelward_native.backend.pool import Pool
from modelward_native.request.last_good import LastGoodAnswers
from modelward_native.request.served import Served
from modelward_native.shadow.shadow import Shadow, link_shadow
from tests import models

FEATURES = 6
CLASSES = 2
VALUE = [
    ((1,), np.zeros(1, np.int64).tobytes(), True),
    ((1, CLASSES), np.full((1, CLASSES), 0.5, np.float32).tobytes(), True),
]


def open_models() -> list[Served]:
    """Open and warm. mlp: profile, mode fallback, a value behind it. guarded: anomalies tagged. steep: its run fails on
    numbers outside 0 to 3, with two models and a value behind it. slow: too long for the loop. plain: undecoded, for an
    upstream that is never there, with its last answers behind it. guarded, steep, strings and two have shadows: others,
    themselves, one that fails on other numbers, and one that is never there."""
    runtime()
    mlp = _open("mlp", models.mlp(FEATURES, 4, CLASSES))
    guarded = _open("guarded", models.mlp(FEATURES, 4, CLASSES, seed=1))
    steep = _open("steep", lookup("a", "b"))
    profile = Profile.fit({"input": np.random.default_rng(0).normal(size=(300, FEATURES)).astype(np.float32)})
    mlp.set_anomaly(profile.kernel, ["input"], "fallback", 0.01)
    guarded.set_anomaly(profile.kernel, ["input"], "tag", 0.01)
    mlp.set_fallbacks([VALUE])
    guarded.set_fallbacks([mlp])
    second, third = _open("second", lookup("b", "a")), _open("third", lookup("a", "b"))
    steep.set_fallbacks([second, third, [((1,), bytes(8), True)]])
    slow = _open("slow", models.slow_loop(60))
    slow.set_deadline(50_000_000)
    plain = Served(Engine("plain", "", Remote((), (), Pool([]))))
    plain.set_fallbacks([LastGoodAnswers(4, 1_000_000_000, 2**24)])
    strings, two = _open("strings", models.strings()), _open("two", models.two_inputs())
    _shadow(guarded, _open("guarded", models.mlp(FEATURES, 4, CLASSES, seed=2)), anomalous=False)
    _shadow(steep, _open("steep", lookup("b", "a")))
    _shadow(strings, _open("strings", models.strings()), permits=2)
    _shadow(two, _open("two", models.two_inputs()), fraction=0.5)
    _shadow(two, Served(Engine("two", "", Remote((), (), Pool([])))))
    return [
        guarded, mlp, slow, steep, second, third,
        _open("anything", models.identity(TensorProto.FLOAT, ("batch", "columns"))),
        _open("fixed", models.fixed_batch()),
        strings,
        two,
        plain,
    ]  # fmt: skip


def _shadow(served: Served, shadow: Served, **which: Any) -> None:
    """Runs in the loop while it is fast, unlike a real one."""
    link_shadow(served, Shadow(shadow, f"{len(served.shadows)}", b"fingerprint", **which), b"content")


def lookup(*inputs: str) -> bytes:
    """INT64 inputs a [batch, m] and b [batch, n], declared in the order given -> q INT64 [batch].

    The first holds indices of a table of four: any other number fails the run, and only the run.
    """
    first, second = inputs
    columns = {"a": "m", "b": "n"}
    made: bytes = models.model(
        [
            helper.make_node("Constant", [], ["table"], value_ints=[10, 20, 30, 40]),
            helper.make_node("Gather", ["table", first], ["found"]),
            helper.make_node("ReduceMax", ["found"], ["high"], axes=[1], keepdims=0),
            helper.make_node("ReduceMax", [second], ["low"], axes=[1], keepdims=0),
            helper.make_node("Sub", ["high", "low"], ["q"]),
        ],
        [models.tensor(name, TensorProto.INT64, ["batch", columns[name]]) for name in inputs],
        [models.tensor("q", TensorProto.INT64, ["batch"])],
    ).SerializeToString()
    return made


def _open(name: str, content: bytes) -> Served:
    engine = Engine(name, "1", content)
    warm_up(engine, 16)
    return Served(engine)
