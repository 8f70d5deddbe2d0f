"""Shadows while everything around them ends: reloads, stops, clients that leave, broken upstreams, odd requests.

Whatever happens, clients are answered as if there were no shadow, and at the end nothing is left of it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper

from modelward.access import keys
from modelward.score import Profile
from modelward.server import pressure
from tests import models
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import REQUEST, STREAM_INFER, Stub, arrays, request
from tests.e2e.raw_upstream import Request, raw_upstream
from tests.e2e.test_access import bearer, token_settings
from tests.e2e.test_shadows import OF_TWO, after, ask_add, figures, native, two_versions
from tests.e2e.test_upstream_control import SIGNATURE
from tests.support import EmbeddedServer, reloadable, serving, wait_until
from tests.tokens import Issuer

REQUESTS = 20
FOREVER = 2**62


@pytest.fixture(autouse=True)
def time_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does, it is not taken for want of time: every request is mirrored."""
    monkeypatch.setattr(pressure, "LOOP_BUSY", inf)
    monkeypatch.setattr(pressure, "STARVED", inf)


def nothing_is_left(server: EmbeddedServer) -> None:
    """Of any request, mirrored or not, and of any generation but the last."""
    application = server.application
    wait_until(lambda: native(server).mirroring == 0, "the end of what shadows were asked")
    wait_until(lambda: application.region.gauges()[:2] == (0, 0), "the end of all requests and their bytes")
    wait_until(lambda: not application.serving.retired, "the end of older generations")
    generation = application.serving.current
    for shadow in generation.shadows:
        assert (shadow.native.in_flight, shadow.native.served.users) == ((0, 0), 0)
    assert [served.users for served in application.serving.generation.served] == [0] * len(
        application.serving.generation.served
    )


class Held:
    """An upstream's behaviour: it gives no answer before `go`."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)
        self.waiting: list[Request] = []
        self.bodies: list[Any] = []
        self.gone = threading.Event()

    def __call__(self, asked: Request) -> None:
        self.bodies.append(REQUEST.FromString(asked.body[5:]))
        if self.gone.is_set():
            asked.answer()
        else:
            self.waiting.append(asked)
        self.came.release()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.came.acquire(timeout=60)

    def go(self) -> None:
        self.gone.set()
        for asked in self.waiting:
            with asked.connection.lock:
                if asked.stream not in asked.connection.given_up:
                    asked.answer()
                    asked.connection.flush()
        self.waiting.clear()


@contextmanager
def with_upstream_shadow(
    root: Path, behave: Callable[[Request], None], start: Any = serving, options: str = "deadline: 60s", **settings: Any
) -> Iterator[tuple[Any, str]]:
    """Version 1 of add answers; its shadow is the server that behaves like this."""
    with raw_upstream(behave) as upstream:
        shadow = f"{{upstreams: [{upstream.address}], warmup: 0, {options}}}"
        with start(root, {"add": models.add_one()}, models__add__shadow=shadow, **settings) as server:
            yield server, upstream.address


# ---- reloads, promotions, stops


def test_a_reload_waits_for_no_shadow_and_lets_go_of_the_old_one_when_that_has_answered(tmp_path: Path) -> None:
    held = Held()
    with with_upstream_shadow(tmp_path, held, reloadable) as (server, _), Stub(server.grpc) as stub:
        for i in range(REQUESTS):
            stub.infer(ask_add(i))
        held.wait_for(REQUESTS)
        server.reload(models__add__shadow=None)
        stub.infer(ask_add())
        assert native(server).mirroring == REQUESTS
        assert server.application.serving.retired
        held.go()
        nothing_is_left(server)


def test_a_reload_that_changes_a_shadow_gives_the_new_one_places_of_its_own(tmp_path: Path) -> None:
    held = Held()
    few = "deadline: 60s, concurrency: 4"
    with with_upstream_shadow(tmp_path, held, reloadable, few) as (server, address), Stub(server.grpc) as stub:
        for _ in range(4):
            stub.infer(ask_add())
        held.wait_for(4)
        shadow = f"{{upstreams: [{address}], warmup: 0, deadline: 60s, concurrency: 4, fraction: 1.0}}"
        server.reload(models__add__shadow=shadow)
        for _ in range(6):
            stub.infer(ask_add())
        held.wait_for(4)
        assert figures(server, shadow=address).total.sums()["dropped"]["places"] == 2
        held.go()
        after(server, 10, shadow=address)
        nothing_is_left(server)


def test_a_caller_alone_has_all_places_of_a_shadow_and_leaves_some_once_others_need_them(tmp_path: Path) -> None:
    held = Held()
    with contextlib.ExitStack() as stack:
        server, address = stack.enter_context(
            with_upstream_shadow(tmp_path, held, serving, "deadline: 60s, concurrency: 4")
        )
        bob = stack.enter_context(Stub(server.grpc))
        # more than one: callers share parts by hash
        others = [stack.enter_context(H2Client(server.grpc, source=f"127.0.0.{n}")) for n in (2, 3, 4)]

        def places_wanted() -> int:
            return int(figures(server, shadow=address).total.sums()["dropped"]["places"])

        def ask_by_others() -> None:
            for client in others:
                assert client.call(framed(ask_add().SerializeToString())).code == 0

        for _ in range(4):
            bob.infer(ask_add())
        held.wait_for(4)
        ask_by_others()
        assert places_wanted() == 3
        held.go()
        wait_until(lambda: native(server).mirroring == 0, "the end of all copies")
        held.gone.clear()
        for _ in range(REQUESTS):
            bob.infer(ask_add())
        held.wait_for(2)
        assert places_wanted() == 3 + REQUESTS - 2
        ask_by_others()
        held.wait_for(2)
        held.go()
        nothing_is_left(server)


def test_shares_may_change_while_shadows_are_asked(tmp_path: Path) -> None:
    held = Held()
    with raw_upstream(held) as upstream:
        shadow = f"{{upstreams: [{upstream.address}], warmup: 0, deadline: 60s}}"
        versions = two_versions(models.add_one(), models.add_one())
        with serving(tmp_path, versions, models__add__shadow=shadow, **OF_TWO) as server, Stub(server.grpc) as stub:
            assert server.application.loop is not None
            for share in range(5):
                stub.infer(ask_add())
                changed = threading.Event()
                shares = {"add": {"1": share % 2, "2": 1 - share % 2}}
                server.application.loop.call_soon_threadsafe(
                    lambda shares=shares, changed=changed: (
                        server.application.serving.share(shares, None),
                        changed.set(),
                    )
                )
                assert changed.wait(60)
            held.wait_for(5)
            held.go()
            nothing_is_left(server)
            for version, count in (("1", 3), ("2", 2)):
                after(server, count, primary=version, shadow=upstream.address)


@pytest.mark.parametrize("where", ["upstream", "thread"])
def test_a_server_stops_at_once_whatever_its_shadows_have(tmp_path: Path, where: str) -> None:
    held = Held()
    with raw_upstream(held) as upstream:
        shadow = f"{{upstreams: [{upstream.address}], warmup: 0, deadline: 60s}}"
        versions: Any = {"add": models.add_one()}
        if where == "thread":
            shadow, versions = "{version: 2, warmup: 0, deadline: 60s}", two_versions(models.add_one(), late())
        settings = OF_TWO if where == "thread" else {}
        with serving(tmp_path, versions, models__add__shadow=shadow, **settings) as server:
            with Stub(server.grpc) as stub:
                for _ in range(REQUESTS):  # of those in a worker thread one runs and others are queued behind it
                    stub.infer(ask_add(11))
            wait_until(lambda: native(server).mirroring == REQUESTS, "requests that shadows have")
            application = server.application
    assert application.server is not None
    assert application.server.mirroring == 0
    # the pair's bytes are freed with their calls, when the loop has told the last connection that it is lost
    assert application.region.gauges()[0] == 0


def late() -> bytes:
    """x FP32 [batch, 4] -> y = x, at once or never: for ever above 10, which no warm-up reaches."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["goes_on"]),
            helper.make_node("Identity", ["carried"], ["passed"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("count", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, ["batch", 4]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("passed", TensorProto.FLOAT, ["batch", 4]),
        ],
    )
    return models.model(
        [
            helper.make_node("Constant", [], ["most"], value_int=FOREVER),
            helper.make_node("Constant", [], ["bound"], value_float=10.0),
            helper.make_node("ReduceMax", ["x"], ["highest"], keepdims=0),
            helper.make_node("Greater", ["highest", "bound"], ["endless"]),
            helper.make_node("Loop", ["most", "endless", "x"], ["y"], body=body),
        ],
        [models.tensor("x", TensorProto.FLOAT, ["batch", 4])],
        [models.tensor("y", TensorProto.FLOAT, ["batch", 4])],
    ).SerializeToString()


# ---- upstreams


def test_answers_after_the_deadline_come_too_late_and_harm_no_request(tmp_path: Path) -> None:
    held = Held()
    short = "deadline: 20ms"
    with with_upstream_shadow(tmp_path, held, options=short) as (server, address), Stub(server.grpc) as stub:
        for i in range(REQUESTS):
            assert arrays(stub.infer(ask_add(i)))["y"][0, 0] == i + 1
        sums = after(server, REQUESTS, shadow=address).total.sums()
        held.go()
        stub.infer(ask_add())
        after(server, REQUESTS + 1, shadow=address)
        nothing_is_left(server)
    assert sums["shadow_failed"] + sum(sums["dropped"].values()) == REQUESTS


def test_an_upstream_that_answers_twice_is_heard_once_at_most(tmp_path: Path) -> None:
    def behave(asked: Request) -> None:
        asked.answer()
        # HEADERS and DATA of the stream that has ended
        asked.connection.send_raw(b"\0\0\1\1\4" + asked.stream.to_bytes(4, "big") + b"\x88")
        asked.connection.send_raw(b"\0\0\1\0\1" + asked.stream.to_bytes(4, "big") + b"x")

    with with_upstream_shadow(tmp_path, behave) as (server, address), Stub(server.grpc) as stub:
        for i in range(REQUESTS):
            assert arrays(stub.infer(ask_add(i)))["y"][0, 0] == i + 1
        after(server, REQUESTS, shadow=address)
        nothing_is_left(server)


def test_an_upstream_that_sends_everybody_away_after_each_answer_is_asked_again(tmp_path: Path) -> None:
    def behave(asked: Request) -> None:
        asked.answer()
        asked.connection.h2.close_connection()

    with with_upstream_shadow(tmp_path, behave) as (server, address), Stub(server.grpc) as stub:
        for i in range(REQUESTS):
            assert arrays(stub.infer(ask_add(i)))["y"][0, 0] == i + 1
        after(server, REQUESTS, shadow=address)
        nothing_is_left(server)


def test_an_unreachable_shadow_delays_no_client(tmp_path: Path) -> None:
    shadow = "{upstreams: ['127.0.0.1:1'], warmup: 0}"
    with serving(tmp_path, {"add": models.add_one()}, models__add__shadow=shadow) as server, Stub(server.grpc) as stub:
        for i in range(REQUESTS):
            assert arrays(stub.infer(ask_add(i)))["y"][0, 0] == i + 1
        sums = after(server, REQUESTS, shadow="127.0.0.1:1").total.sums()
        nothing_is_left(server)
    assert sums["shadow_failed"] == REQUESTS


def test_the_longest_names_go_to_an_upstreams_shadow_as_they_are(tmp_path: Path) -> None:
    name, version = "é" * 64, "9" * 64
    primary, held = Held(), Held()
    primary.go()
    held.go()
    tensors = "[{{name: {0}, datatype: FP32, shape: [-1, 4]}}]"
    signature = f"{{inputs: {tensors.format('x')}, outputs: {tensors.format('y')}}}"
    with raw_upstream(lambda asked: (held if "modelward-shadow" in asked.headers else primary)(asked)) as upstream:
        settings = {
            f"models__'{name}'__upstreams": f"['{upstream.address}']",
            f"models__'{name}'__signature": signature,
            f"models__'{name}'__shadow": f"{{version: '{version}', warmup: 0}}",
        }
        with serving(tmp_path, {"here": models.add_one()}, **settings) as server, Stub(server.grpc) as stub:
            for _ in range(REQUESTS):
                stub.infer(request(name, {"x": np.ones((1, 4), np.float32)}, version="1"))
            after(server, REQUESTS, model=name, shadow=version)
            nothing_is_left(server)
    assert [(body.model_name, body.model_version) for body in primary.bodies] == [(name, "1")] * REQUESTS
    assert [(body.model_name, body.model_version) for body in held.bodies] == [(name, version)] * REQUESTS


@pytest.mark.parametrize("whose", ["upstreams", "models__add__upstreams"])
def test_another_version_on_the_models_own_upstreams_can_be_its_shadow(tmp_path: Path, whose: str) -> None:
    copies, primary = Held(), Held()
    copies.go()
    primary.go()
    with raw_upstream(lambda asked: (copies if "modelward-shadow" in asked.headers else primary)(asked)) as upstream:
        settings = {whose: f"['{upstream.address}']", "models__add__shadow": "{version: 2, warmup: 0}"}
        with serving(tmp_path, {"here": models.add_one()}, **settings) as server, Stub(server.grpc) as stub:
            for _ in range(REQUESTS):
                stub.infer(ask_add())
            after(server, REQUESTS)
            nothing_is_left(server)
    assert [body.model_version for body in copies.bodies] == ["2"] * REQUESTS
    assert [body.model_version for body in primary.bodies] == [""] * REQUESTS


def test_no_version_of_upstreams_is_asked_for_a_request_of_a_sequence_by_two(tmp_path: Path) -> None:
    copies, primary = Held(), Held()
    copies.go()
    primary.go()
    with raw_upstream(lambda asked: (copies if "modelward-shadow" in asked.headers else primary)(asked)) as upstream:
        settings = {
            "models__add__upstreams": f"['{upstream.address}']",
            "models__add__signature": SIGNATURE,
            "models__add__shadow": "[{version: 1, warmup: 0}, {version: 2, warmup: 0}]",
        }
        with serving(tmp_path, {"here": models.add_one()}, **settings) as server, Stub(server.grpc) as stub:
            row = {"x": np.ones((1, 4), np.float32)}
            stub.infer(request("add", row, version="1", parameters={"sequence_id": 7}))
            stub.infer(request("add", row, version="1"))
            after(server, 2, shadow="2")
            after(server, 1, shadow="1")
            nothing_is_left(server)
    asked = sorted((body.model_version, body.parameters["sequence_id"].int64_param) for body in copies.bodies)
    assert asked == [("1", 0), ("2", 0), ("2", 7)]


def test_a_copy_stays_marked_on_its_way_through_a_proxy(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def behave(asked: Request) -> None:
        seen.append(asked.headers)
        asked.answer()

    with raw_upstream(behave) as upstream:
        settings = {"models__add__upstreams": f"['{upstream.address}']", "trusted_proxies": ["127.0.0.1"]}
        with serving(tmp_path, {"here": models.add_one()}, **settings) as server, Stub(server.grpc) as stub:
            stub.infer(ask_add(), metadata=(("modelward-shadow", "1"),))
            stub.infer(ask_add())
    assert [headers.get("modelward-shadow") for headers in seen] == ["1", None]


# ---- a primary that fails, is asked twice, or has a fallback chain


def statuses(status: str) -> Callable[[Request], None]:
    return lambda asked: asked.headers_out((":status", "200"), ("grpc-status", status), end=True)


@pytest.mark.parametrize(
    ("broken", "settings", "answered", "outcome"),
    [
        (lambda asked: None, {"deadline": "100ms", "fallback": "[{value: {y: [[7, 7, 7, 7]]}}]"}, 7, "primary_failed"),
        (statuses("13"), {"fallback": "[{value: {y: [[7, 7, 7, 7]]}}]"}, 7, "primary_failed"),
        (statuses("13"), {}, None, "primary_failed"),
        (statuses("3"), {}, None, None),  # a client's own error is not sent to another version
    ],
    ids=["silent with a chain", "failing with a chain", "failing", "refusing"],
)
def test_what_the_primary_fails_is_mirrored_once_and_what_it_refuses_never(
    tmp_path: Path,
    broken: Callable[[Request], None],
    settings: dict[str, str],
    answered: float | None,
    outcome: str | None,
) -> None:
    with raw_upstream(broken) as primary, raw_upstream(Request.answer) as copies:
        settings = {f"models__add__{key}": value for key, value in settings.items()}
        settings["models__add__upstreams"] = f"['{primary.address}']"
        settings["models__add__shadow"] = f"{{upstreams: ['{copies.address}'], warmup: 0, deadline: 50ms}}"
        with serving(tmp_path, {"here": models.add_one()}, **settings) as server, Stub(server.grpc) as stub:
            for _ in range(REQUESTS):
                if answered is not None:
                    assert arrays(stub.infer(ask_add()))["y"][0, 0] == answered
                else:
                    with pytest.raises(grpc.RpcError):
                        stub.infer(ask_add())
            pairs = after(server, REQUESTS if outcome else 0, shadow=copies.address).total.sums()
            nothing_is_left(server)
            wait_until(lambda: copies.requests >= (REQUESTS if outcome else 0), "it to have read them all")
    assert outcome is None or pairs[outcome] + pairs["both_failed"] == REQUESTS
    assert copies.requests == (REQUESTS if outcome else 0)


@pytest.mark.parametrize("how", ["retries", "hedges"])
def test_a_request_that_two_upstreams_are_asked_is_mirrored_once(tmp_path: Path, how: str) -> None:
    def first(asked: Request) -> None:
        if how == "retries":
            asked.reset(7)  # REFUSED_STREAM: the server has not begun it
        elif asked.number % 10 < 9:
            asked.answer()

    with raw_upstream(first) as one, raw_upstream(Request.answer) as other, raw_upstream(Request.answer) as copies:
        settings = {
            "models__add__upstreams": f"['{one.address}', '{other.address}']",
            "models__add__shadow": f"{{upstreams: ['{copies.address}'], warmup: 0}}",
            "models__add__hedging": "{budget: 0.5}",
        }
        with serving(tmp_path, {"here": models.add_one()}, **settings) as server, Stub(server.grpc) as stub:
            asked = 0

            def twice() -> bool:
                nonlocal asked
                asked += 1
                stub.infer(ask_add())
                return any(getattr(endpoint, how) for endpoint in server.application.upstreams)

            wait_until(twice, f"a request that {how}")
            sums = after(server, asked, shadow=copies.address).total.sums()
            nothing_is_left(server)
    assert sums["compared"] + sums["shadow_failed"] == copies.requests == asked
    assert one.requests + other.requests > asked


# ---- clients


@pytest.mark.parametrize("streaming", [False, True], ids=["unary", "stream"])
def test_clients_that_leave_take_nothing_from_their_shadows(tmp_path: Path, streaming: bool) -> None:
    held = Held()
    with with_upstream_shadow(tmp_path, held) as (server, address):
        with H2Client(server.grpc) as client:
            streams: list[int] = []
            for i in range(REQUESTS):
                if streaming and streams:
                    client.send(streams[0], framed(ask_add(i).SerializeToString()))
                    continue
                streams.append(client.begin(STREAM_INFER) if streaming else client.begin())
                client.send(streams[-1], framed(ask_add(i).SerializeToString()), end=not streaming)
            held.wait_for(REQUESTS)
        wait_until(lambda: server.application.server.totals()["connections"] == 0, "the client has gone")
        assert native(server).mirroring == REQUESTS
        held.go()
        after(server, REQUESTS, shadow=address)
        nothing_is_left(server)


def test_requests_that_came_compressed_are_mirrored_as_they_were_meant(tmp_path: Path) -> None:
    held = Held()
    held.go()
    with with_upstream_shadow(tmp_path, held) as (server, address), Stub(server.grpc) as stub:
        for i in range(REQUESTS):
            stub.infer(ask_add(i, rows=50), compression=grpc.Compression.Gzip)
        after(server, REQUESTS, shadow=address)
        nothing_is_left(server)
    assert all(body.inputs[0].shape == [50, 4] for body in held.bodies)


# ---- requests


def scattered(order: str) -> bytes:
    """Six inputs of rank 4, [batch, 2, 1, 1] each, in this order -> y: a - b + c - d + e - f."""
    shape = ["batch", 2, 1, 1]
    nodes = [helper.make_node("Sub", ["a", "b"], ["ab"]), helper.make_node("Sub", ["c", "d"], ["cd"]),
             helper.make_node("Sub", ["e", "f"], ["ef"]), helper.make_node("Add", ["ab", "cd"], ["abcd"]),
             helper.make_node("Add", ["abcd", "ef"], ["y"])]  # fmt: skip
    inputs = [models.tensor(name, TensorProto.FLOAT, shape) for name in order]
    return models.model(nodes, inputs, [models.tensor("y", TensorProto.FLOAT, shape)]).SerializeToString()


@pytest.mark.parametrize("typed", [False, True])
def test_a_shadow_gets_many_inputs_in_its_own_order_and_of_a_part_of_them(tmp_path: Path, typed: bool) -> None:
    versions: Any = {"m": {1: scattered("abcdef"), 2: scattered("fdbeca")}}
    settings = {"models__m__shadow": "{version: 2, warmup: 0}", "models__m__versions": '{"1": 1}'}
    random = np.random.default_rng(0)
    with serving(tmp_path, versions, **settings) as server, Stub(server.grpc) as stub:
        for rows in range(1, REQUESTS + 1):
            inputs = {name: random.normal(size=(rows, 2, 1, 1)).astype(np.float32) for name in "badcfe"}
            stub.infer(request("m", inputs, typed=typed))
        sums = after(server, REQUESTS, model="m").total.sums()
        nothing_is_left(server)
    assert (sums["compared"], sums["disagreeing"], sums["absolute_max"]) == (REQUESTS, 0, 0)


def test_strings_empty_tensors_and_batches_reach_a_shadow_whole(tmp_path: Path) -> None:
    def echo(columns: int | str) -> bytes:
        tensors = [models.tensor(name, TensorProto.STRING, ["batch", columns]) for name in ("text", "echo")]
        return models.model(
            [helper.make_node("Identity", ["text"], ["echo"])], tensors[:1], tensors[1:]
        ).SerializeToString()

    versions: Any = {"m": {1: echo("columns"), 2: echo("columns")}}
    settings = {"models__m__shadow": "{version: 2, warmup: 0}", "models__m__versions": '{"1": 1}'}
    with serving(tmp_path, versions, **settings) as server, Stub(server.grpc) as stub:
        shapes = [(rows, columns) for rows in (1, 3) for columns in (0, 1, 5)]
        texts = [
            np.array([b"x" * i] * rows * columns, object).reshape(rows, columns)
            for i, (rows, columns) in enumerate(shapes)
        ]
        asked = [request("m", {"text": text}, typed=typed) for text in texts for typed in (False, True)]
        for future in [stub.future(message) for message in asked]:
            future.result()
        sums = after(server, len(asked), model="m").total.sums()
        nothing_is_left(server)
    assert (sums["compared"], sums["disagreeing"], sums["unreadable"]) == (len(asked), 0, 0)


def test_large_answers_that_a_client_takes_late_are_mirrored_as_they_are_begun(tmp_path: Path) -> None:
    from loadtests.attack.arena import amplifier  # noqa: PLC0415 - needs clients that only this test imports

    settings = {"models__m__shadow": "{version: 1, warmup: 0, concurrency: 100}"}
    count = 40
    with serving(tmp_path, {"m": amplifier()}, **settings) as server:
        message = framed(request("m", {"x": np.zeros((1, 1), np.float32)}).SerializeToString())
        with H2Client(server.grpc, window=0) as client:
            streams = [client.begin() for _ in range(count)]
            for stream in streams:
                client.send(stream, message, end=True)
            wait_until(lambda: figures(server, "1", "1", "m").total.sums()["compared"] > 0, "the first pairs")
            client.h2.increment_flow_control_window(2**30)
            for stream in streams:
                client.h2.increment_flow_control_window(2**30, stream)
            client.flush()
            assert all(client.reply(stream).code == 0 for stream in streams)
        after(server, count, primary="1", shadow="1", model="m")
        nothing_is_left(server)


# ---- which


def test_only_flagged_requests_go_to_a_shadow_that_wants_those_and_they_count_as_anomalous(tmp_path: Path) -> None:
    profile = Profile.fit({"x": np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)})
    for version in ("1", "2"):
        folder = tmp_path / "models" / "add" / version
        folder.mkdir(parents=True)
        profile.save(folder / "profile.npz")
    settings = {
        "models__add__anomaly": "{mode: tag}",
        "models__add__shadow": "[{version: 1, warmup: 0, only: {anomalous: true}}, {version: 2, warmup: 0}]",
    }
    versions = two_versions(models.add_one(), models.add_one())
    with serving(tmp_path / "models", versions, **settings, **OF_TWO) as server, Stub(server.grpc) as stub:
        for value in (0, 50, 0, 50, 0):
            stub.infer(ask_add(value))
        strange, all_of_them = after(server, 2, shadow="1"), after(server, 5)
        nothing_is_left(server)
    assert (strange.anomalous.sums()["compared"], strange.normal.sums()["compared"]) == (2, 0)
    assert (all_of_them.anomalous.sums()["compared"], all_of_them.normal.sums()["compared"]) == (2, 3)
    assert all_of_them.total.sums()["disagreeing"] == 0


def test_only_certain_callers_are_mirrored_and_each_is_counted_by_name_and_proof(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.add_key("one")
    file, texts = tmp_path / "keys.json", {}
    with keys.editing(file) as kept:
        for name in ("team-a", "team-b", "other"):
            key, texts[name] = keys.make(name)
            kept[key.id] = key
    settings = {
        "access": {
            "keys": str(file),
            "jwt": token_settings(issuer.publish(tmp_path / "jwks.json")),
            "rules": [{"identity": "*", "by": "any", "models": "*"}],
        },
        "models__add__shadow": "[{version: 2, warmup: 0, only: {identity: ['team-*', nobody]}},"
        " {version: 1, warmup: 0, only: {identity: 'team-*', by: token}}]",
    }
    versions = two_versions(models.add_one(), models.add_one())
    with serving(tmp_path / "models", versions, **settings, **OF_TWO) as server, Stub(server.grpc) as stub:
        for name in ("team-a", "other", "team-b", "team-a"):
            stub.infer(ask_add(), metadata=(("x-api-key", texts[name]),))
        for name in ("team-a", "other"):
            stub.infer(ask_add(), metadata=bearer(issuer.token(name)))
        found, by_token = after(server, 4), after(server, 1, shadow="1")
        nothing_is_left(server)
    assert {name: one.sums()["compared"] for name, one in found.identities.items()} == {
        ("key", "team-a"): 2,
        ("key", "team-b"): 1,
        ("token", "team-a"): 1,
    }
    assert list(by_token.identities) == [("token", "team-a")]
