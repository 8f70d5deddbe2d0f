"""Models whose signature no server tells: in front of servers that can infer, and know little else of the protocol."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

from modelward.cli.app import main
from modelward.cli.ready import print_ready
from modelward.problem import ProblemsFound
from modelward.rpc.protocol import INFERENCE_SERVICE, message_class
from modelward.server.report import describe
from tests.e2e.messages import (
    INFER,
    REQUEST,
    RESPONSE,
    ROUNDED_UP,
    STREAM_INFER,
    STREAM_RESPONSE,
    Stub,
    refused,
    request,
)
from tests.e2e.test_relay import in_front, listening, nothing_is_left
from tests.models import add_one, repository
from tests.oracle.wire import delimited
from tests.support import EmbeddedServer, wait_until

ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
UNREACHABLE = "127.0.0.1:1"
TIMEOUT = 20.0
METADATA = f"/{INFERENCE_SERVICE}/ModelMetadata"
READY = f"/{INFERENCE_SERVICE}/ModelReady"
CONFIG = f"/{INFERENCE_SERVICE}/ModelConfig"
INPUTS = 5

Answer = Callable[[bytes, grpc.ServicerContext], bytes]


class Plain(grpc.GenericRpcHandler):
    """A server with ModelInfer, which answers with the bytes that it was sent, and the methods that a test adds; it
    answers UNIMPLEMENTED to any other, ModelMetadata before all. Streams are echoed twice."""

    def __init__(self, **methods: Answer) -> None:
        self.methods = {f"/{INFERENCE_SERVICE}/{name}": answer for name, answer in methods.items()}
        self.seen: list[bytes] = []
        self.remaining: list[float | None] = []
        self.metadata: list[dict[str, Any]] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method == STREAM_INFER:
            return grpc.stream_stream_rpc_method_handler(self._stream)
        answer = self.methods.get(details.method, self._infer if details.method == INFER else None)
        if answer is None:
            return None

        def handle(message: bytes, context: grpc.ServicerContext) -> bytes:
            self.seen.append(message)
            self.remaining.append(context.time_remaining())
            self.metadata.append(dict(context.invocation_metadata()))
            return answer(message, context)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _infer(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        return echo(message)

    def _stream(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for message in messages:
            self.seen.append(message)
            yield from [STREAM_RESPONSE(infer_response=RESPONSE.FromString(echo(message))).SerializeToString()] * 2


def echo(message: bytes) -> bytes:
    response = RESPONSE(model_name="from upstream", raw_output_contents=[message])
    with contextlib.suppress(Exception):  # a server that decodes refuses garbage; this one shows that it came
        response.id = REQUEST.FromString(message).id
    response.outputs.add(name="echo", datatype="UINT8", shape=[len(message)])
    return bytes(response.SerializeToString())


SERVERS_OWN = ("repository", "passthrough")


@contextlib.contextmanager
def guarded(*peers: Plain, **dotted: Any) -> Iterator[tuple[EmbeddedServer, Stub]]:
    """Modelward in front of the peers, and a client of it. dotted: settings of the model by key, or of the server."""
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(listening(peer))[0] for peer in peers] or [UNREACHABLE]
        sets = {k if "__" in k or k in SERVERS_OWN else f"models__plain__{k}": v for k, v in dotted.items()}
        pool = f"[{', '.join(addresses)}]"
        if "passthrough" in dotted:
            sets["upstreams"] = pool
        server = stack.enter_context(in_front(models__plain__upstreams=pool, **sets))
        yield server, stack.enter_context(Stub(server.grpc))
        nothing_is_left(server)


def send(stub: Stub, message: bytes, timeout: float = TIMEOUT) -> Any:
    """The answer to these very bytes."""
    return stub.channel.unary_unary(INFER, response_deserializer=RESPONSE.FromString)(message, timeout=timeout)


def named(*fields: bytes, model: str = "plain") -> bytes:
    return b"".join([delimited(1, model.encode()), *fields])


# ---- requests


def test_a_server_that_only_infers_is_served_at_once_and_answers_tritonclient() -> None:
    peer = Plain()
    began = time.monotonic()
    with guarded(peer) as (server, _), triton.InferenceServerClient(server.grpc) as client:
        assert time.monotonic() - began < 15  # health.startup is 30 s
        assert server.page("/readyz")[0] == 200
        given = triton.InferInput("x", [1, 4], "FP32")
        given.set_data_from_numpy(ROW)
        answered = client.infer("plain", [given], request_id="7", model_version="31").get_response()
        assert (answered.model_name, answered.id) == ("from upstream", "7")
        seen = REQUEST.FromString(peer.seen[-1])
        assert (seen.model_name, seen.model_version, seen.id) == ("plain", "31", "7")
        assert seen.raw_input_contents == [ROW.tobytes()]
        assert server.metric("modelward_requests_total", model="plain", version="", code="OK") == 1
        assert server.metric("modelward_undecoded", model="plain") == 1


def test_typed_contents_and_shared_memory_pass_as_they_came() -> None:
    typed = request("plain", {"x": ROW}, typed=True)
    shared = request("plain", {})
    shared.inputs.add(name="x", datatype="FP32", shape=[1, 4]).parameters["shared_memory_region"].string_param = "r"
    with guarded(peer := Plain(), passthrough="true") as (_, stub):
        for message in (typed, shared):
            stub.infer(message)
            assert peer.seen[-1] == message.SerializeToString()


@pytest.mark.parametrize("where", ["input", "output", "an input that is otherwise broken"])
def test_regions_of_shared_memory_are_not_named_where_nothing_passes_through(where: str) -> None:
    """A client that names a region reads or writes it, whoever registered it."""
    message = request("plain", {"x": ROW})
    if where == "output":
        message.outputs.add(name="y").parameters["shared_memory_region"].string_param = "r"
    else:
        message.inputs[0].parameters["shared_memory_region"].string_param = "r"
    sent = message.SerializeToString()
    if where.endswith("broken"):
        sent = named(delimited(INPUTS, message.inputs[0].SerializeToString() + b"\xff"))
    plain = request("plain", {"x": np.array([[b"shared_memory_region"]], object)}, typed=True)
    with guarded(peer := Plain()) as (_, stub):
        with pytest.raises(grpc.RpcError) as refused:
            send(stub, sent)
        assert "shared memory is not offered here" in refused.value.details()
        assert peer.seen == []
        stub.infer(plain)
        assert peer.seen == [plain.SerializeToString()], "a tensor may hold the words"


GARBAGE = {
    "an input that is no message": named(delimited(INPUTS, b"\xff" * 40)),
    "a parameter that is no message": named(delimited(4, b"\x0a\x09timeout\xff")),
    "more inputs than any model has": named(*[delimited(INPUTS, b"")] * 1000),
    "a shape of 2^62 x 8": named(delimited(INPUTS, b"\x18" + b"\xff" * 8 + b"\x3f\x18\x08")),
    "an unknown field": named(delimited(99, b"\0" * 100)),
    "raw contents that fit nothing": named(delimited(7, b"\x01\x02\x03")),
    "a timeout that is no number": request("plain", {}, parameters={"timeout": "soon"}).SerializeToString(),
    "a negative timeout": request("plain", {}, parameters={"timeout": -1}).SerializeToString(),
}


@pytest.fixture(scope="module")
def open_server() -> Iterator[tuple[Plain, Stub]]:
    peer = Plain()
    with guarded(peer) as (_, stub):
        yield peer, stub


@pytest.mark.parametrize("message", GARBAGE.values(), ids=GARBAGE)
def test_what_is_inside_the_outermost_fields_is_the_upstreams_to_judge(
    open_server: tuple[Plain, Stub], message: bytes
) -> None:
    peer, stub = open_server
    assert send(stub, message).raw_output_contents == [message]
    assert peer.seen[-1] == message


MALFORMED = {
    "a length past the end": named(b"\x2a\x7f"),
    "a longest length": named(b"\x2a\xff\xff\xff\xff\x07"),
    "a group left open": named(b"\x43"),
    "a million open groups": named(b"\x43" * 1_000_000),
    "field number zero": named(b"\x00\x01"),
    "a version that is no text": named(delimited(2, b"\xff")),
    "an id that is no text": named(delimited(3, b"\xff")),
    "half a varint": named(b"\x40\x80"),
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_outermost_fields_that_do_not_hold_together_never_reach_it(
    open_server: tuple[Plain, Stub], message: bytes
) -> None:
    peer, stub = open_server
    before = len(peer.seen)
    with pytest.raises(grpc.RpcError) as error:
        send(stub, message)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(peer.seen) == before


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=80), inside=st.booleans())
def test_noise_passes_unchanged_or_is_refused(open_server: tuple[Plain, Stub], noise: bytes, inside: bool) -> None:
    _, stub = open_server
    message = named(delimited(INPUTS, noise) if inside else noise)
    try:
        assert send(stub, message).raw_output_contents == [message]
    except grpc.RpcError as error:
        assert not inside
        # noise may be another model's name, which is not known, or no message
        assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


def test_a_message_beyond_the_size_limit_is_refused_before_it_is_held() -> None:
    with guarded(peer := Plain(), limits__message_size="64KiB") as (_, stub):
        assert send(stub, named(delimited(INPUTS, b"\xff" * 60_000))).raw_output_contents
        with pytest.raises(grpc.RpcError) as error:
            send(stub, named(delimited(INPUTS, b"\xff" * 70_000)))
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(peer.seen) == 1


def test_what_the_upstream_says_of_a_name_it_does_not_know_is_passed_on() -> None:
    def unknown(message: bytes, context: grpc.ServicerContext) -> bytes:
        return context.abort(grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'plain' is not found")  # raises

    with guarded(Plain(ModelInfer=unknown)) as (server, stub):
        with pytest.raises(grpc.RpcError) as error:
            stub.infer(request("plain", {"x": ROW}))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        assert error.value.details() == "Request for unknown model: 'plain' is not found"
        assert server.metric("modelward_requests_total", model="plain", code="NOT_FOUND") == 1


# ---- the guards that need no signature


def test_the_models_limit_holds() -> None:
    with guarded(peer := Plain(), limit="{rate: 1/h, burst: 2}") as (_, stub):
        stub.infer(request("plain", {"x": ROW}))
        stub.infer(request("plain", {"x": ROW}))
        assert refused(stub, request("plain", {"x": ROW})).reason == "MODEL_LIMIT"
        assert len(peer.seen) == 2


def late(message: bytes, context: grpc.ServicerContext) -> bytes:
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(TIMEOUT)
    return echo(message)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [({"deadline": "1s"}, {}), ({}, {"timeout": 1_000_000}), ({}, {"timeout": "1000000"})],
    ids=["the model's", "the parameter's", "the parameter's in digits"],
)
def test_deadlines_hold(settings: dict[str, str], parameters: dict[str, Any]) -> None:
    with guarded(peer := Plain(ModelInfer=late), **settings) as (_, stub):
        with pytest.raises(grpc.RpcError) as error:
            stub.infer(request("plain", {"x": ROW}, parameters=parameters), timeout=3 * TIMEOUT)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED, "an answer comes after TIMEOUT"
        assert peer.remaining[0] is not None and peer.remaining[0] <= 1.0


def test_what_is_left_of_the_clients_deadline_reaches_the_upstream() -> None:
    with guarded(peer := Plain()) as (_, stub):
        stub.infer(request("plain", {"x": ROW}), timeout=TIMEOUT)
        assert peer.remaining[0] is not None and 0.0 < peer.remaining[0] <= TIMEOUT + ROUNDED_UP


def test_a_slow_upstream_is_hedged_by_another() -> None:
    slow: set[int] = set()

    def which(i: int) -> Answer:
        return lambda message, context: late(message, context) if i in slow else echo(message)

    peers = [Plain(ModelInfer=which(i)) for i in range(2)]
    with guarded(*peers, hedging="{budget: 0.5}") as (server, stub):
        for _ in range(100):
            stub.infer(request("plain", {"x": ROW}))
        slow.add(max(range(2), key=lambda i: len(peers[i].seen)))

        def is_hedged() -> bool:
            stub.infer(request("plain", {"x": ROW}), timeout=3 * TIMEOUT)
            return server.metric("modelward_upstream_hedges_total") >= 1

        wait_until(is_hedged, "a request that is asked of both", TIMEOUT)  # the slow one answers after that


def test_an_upstream_that_is_lost_is_stood_in_for_by_the_others() -> None:
    with (
        listening(Plain()) as (first, one),
        listening(other := Plain()) as (second, _),
        in_front(models__plain__upstreams=f"[{first}, {second}]") as server,
        Stub(server.grpc) as stub,
    ):
        one.stop(None).wait()
        wait_until(lambda: [e.connected for e in server.application.upstreams].count(True) == 1, "the loss")
        for _ in range(10):
            stub.infer(request("plain", {"x": ROW}))
        assert len(other.seen) == 10


# ---- the fallback chain


def failing(message: bytes, context: grpc.ServicerContext) -> bytes:
    return context.abort(grpc.StatusCode.INTERNAL, "broken")  # raises


def test_another_upstreams_model_answers_under_the_name_that_was_asked() -> None:
    with listening(stand_in := Plain()) as (address, _):
        more = {"models__second__upstreams": f"[{address}]"}
        with guarded(Plain(ModelInfer=failing), fallback="[{model: second}]", **more) as (_, stub):
            message = named(delimited(INPUTS, b"\xff"), delimited(3, b"7"))
            response = send(stub, message)
            assert stand_in.seen[-1] == message + delimited(1, b"second") + delimited(2, b"")
            assert response.model_name == "plain"
            assert response.parameters["modelward_fallback_source"].string_param == "model:second"


@pytest.mark.parametrize("id", ["", "a", "x" * 127, "x" * 200], ids=len)
def test_a_request_of_the_same_bytes_has_its_last_good_answer_under_its_own_id(id: str) -> None:
    broken = threading.Event()

    def until_broken(message: bytes, context: grpc.ServicerContext) -> bytes:
        return failing(message, context) if broken.is_set() else echo(message)

    with guarded(Plain(ModelInfer=until_broken), fallback="[{last_good: {}}]") as (_, stub):
        good = stub.infer(request("plain", {"x": ROW}, id="first"))
        broken.set()
        again = stub.infer(request("plain", {"x": ROW}, id=id or "second"))
        assert again.raw_output_contents == good.raw_output_contents
        assert again.id == (id or "second")
        assert again.parameters["modelward_fallback_source"].string_param == "last_good"
        for other in (
            request("plain", {"x": ROW + 1}, id="first"),
            request("plain", {"x": ROW}, id="first", version="2"),
            request("plain", {"y": ROW}, id="first"),
        ):
            with pytest.raises(grpc.RpcError):
                stub.infer(other)


@pytest.mark.parametrize(
    ("settings", "finding"),
    [
        ({"fallback": "[{value: {y: [[0.5]]}}]"}, r"fallback\[0\].value needs the model's signature"),
        ({"anomaly": "{mode: observe, profile: p.npz}"}, "anomaly.profile needs the model's signature"),
        ({"anomaly": "{mode: reject}"}, "anomaly.mode reject needs the model's signature"),
        (
            {"anomaly": "{mode: fallback}", "fallback": "[{last_good: {}}]"},
            "anomaly.mode fallback needs the model's signature",
        ),
    ],
    ids=["value", "observe", "reject", "fallback"],
)
def test_what_needs_a_signature_is_a_problem(settings: dict[str, str], finding: str) -> None:
    with pytest.raises(ProblemsFound, match=finding) as found, guarded(Plain(), **settings):
        pass
    assert "UNIMPLEMENTED" in found.value.problems[0].why
    assert found.value.problems[0].how == "Declare the model's signature: in the configuration"


def test_a_model_that_runs_here_cannot_stand_in(tmp_path: Path) -> None:
    here = repository(tmp_path, {"add": add_one()})
    problem = pytest.raises(ProblemsFound, match="'add' runs here, and requests for 'plain' pass undecoded")
    with problem, guarded(Plain(), fallback="[{model: add}]", repository=here):
        pass


# ---- streams


def test_a_stream_of_tritonclient_passes_both_ways() -> None:
    with guarded(Plain()) as (server, _), triton.InferenceServerClient(server.grpc) as client:
        answers: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        given = triton.InferInput("x", [1, 4], "FP32")
        given.set_data_from_numpy(ROW)
        for i in range(3):
            client.async_stream_infer("plain", [given], request_id=str(i))
        seen = [answers.get(timeout=TIMEOUT) for _ in range(6)]
        client.stop_stream()
        assert [error for _, error in seen] == [None] * 6
        assert [result.get_response().id for result, _ in seen] == ["0", "0", "1", "1", "2", "2"]


def test_garbage_passes_on_a_stream_and_what_does_not_hold_together_is_answered() -> None:
    with guarded(peer := Plain()) as (server, stub):
        call = stub.channel.stream_stream(STREAM_INFER, response_deserializer=STREAM_RESPONSE.FromString)
        garbage = named(delimited(INPUTS, b"\xff" * 40))
        responses = list(call(iter([garbage, named(delimited(2, b"\xff")), garbage]), timeout=TIMEOUT))
        assert peer.seen == [garbage, garbage]
        assert sum("not a valid inference.ModelInferRequest" in r.error_message for r in responses) == 1
        assert sum(r.infer_response.raw_output_contents == [garbage] for r in responses) == 4
        assert server.metric("modelward_refusals_total", model="plain", reason="MALFORMED_MESSAGE") == 1


# ---- questions about the model


def test_questions_about_the_model_are_the_upstreams_to_answer() -> None:
    ready = message_class("inference.ModelReadyResponse")(ready=True).SerializeToString()
    with guarded(peer := Plain(ModelReady=lambda message, context: ready)) as (server, stub):
        with triton.InferenceServerClient(server.grpc) as client:
            headers = {"authorization": "Bearer x", "modelward-fallback": "forged"}
            assert client.is_model_ready("plain", "31", headers=headers)
            assert peer.metadata[-1]["authorization"] == "Bearer x"
            assert "modelward-fallback" not in peer.metadata[-1]
            asked = message_class("inference.ModelReadyRequest").FromString(peer.seen[-1])
            assert (asked.name, asked.version) == ("plain", "31")
            for question in (client.get_model_metadata, client.get_model_config):
                with pytest.raises(InferenceServerException) as raised:
                    question("plain")
                assert raised.value.status() == "StatusCode.UNIMPLEMENTED"
        assert [m.name for m in stub.ask("RepositoryIndex").models] == ["plain"]
        assert stub.statistics("plain").inference_count == 0


def test_many_questions_are_one_connection() -> None:
    peers: set[str] = set()

    def ready(message: bytes, context: grpc.ServicerContext) -> bytes:
        peers.add(context.peer())
        return b"\x08\x01"

    with guarded(Plain(ModelReady=ready)) as (_, stub):
        assert all(stub.ask("ModelReady", name="plain").ready for _ in range(20))
        assert len(peers) == 1


def test_with_no_upstream_to_be_had_the_model_is_not_ready_and_nothing_is_told_of_addresses() -> None:
    with guarded(health__startup="1ms") as (_, stub):
        assert not stub.ask("ModelReady", name="plain").ready
        with pytest.raises(grpc.RpcError) as error:
            stub.ask("ModelMetadata", name="plain")
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert error.value.details() == "no upstream server of this model can be reached"
        assert refused(stub, request("plain", {"x": ROW})).reason == "NO_UPSTREAM"


def test_with_no_upstream_to_be_had_a_model_on_its_fallback_chain_that_answers_keeps_it_ready() -> None:
    with listening(Plain()) as (address, other):
        more = {"models__second__upstreams": f"[{address}]", "health__startup": "1ms"}
        with guarded(fallback="[{model: second}]", **more) as (_, stub):
            assert stub.infer(request("plain", {"x": ROW})).outputs
            assert stub.ask("ModelReady", name="plain").ready
            assert {m.name: m.state for m in stub.ask("RepositoryIndex").models}["plain"] == "READY"
            other.stop(None).wait()
            wait_until(lambda: not stub.ask("ModelReady", name="plain").ready, "it to be not ready")


# ---- who is told


def test_ready_says_that_requests_pass_and_how_to_mend_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with guarded(Plain()) as (server, _):
        print_ready(describe(server.application), server.application.listen)
    out = " ".join(capsys.readouterr().out.split())
    assert "undecoded, unscored" in out
    assert "decode, limits, deadline, anomaly, fallback" in out
    assert "note: plain: requests pass undecoded and unscored: 127.0.0.1:" in out
    assert "UNIMPLEMENTED" in out
    assert "Declare the model's signature: in the configuration" in out


def check(*sets: str) -> int:
    return main(["check", *(part for text in sets for part in ("--set", text))])


def test_check_says_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(Plain()) as (address, _):
        assert check(f"models.plain.upstreams=[{address}]") == 0
    out, err = capsys.readouterr()
    assert "note: requests pass undecoded and unscored\n  where: model plain\n  why: 127.0.0.1:" in err
    assert "mend: Declare the model's signature: in the configuration" in err
    for shown in ("any", "undecoded, unscored", "not known", "off: decode"):
        assert shown in out


def test_check_finds_what_needs_a_signature(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(Plain()) as (address, _):
        assert check(f"models.plain.upstreams=[{address}]", "models.plain.anomaly.mode=tag") == 1
    assert "problem: anomaly.mode tag needs the model's signature, which is not known" in capsys.readouterr().err


def metadata(**tensors: list[dict[str, Any]]) -> Answer:
    answer = message_class("inference.ModelMetadataResponse")(name="plain", versions=["1"], **tensors)
    return lambda message, context: bytes(answer.SerializeToString())


GOOD = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({}, "has 0 inputs"),
        ({"inputs": [GOOD]}, "has 0 outputs"),
        ({"inputs": [GOOD], "outputs": [GOOD | {"datatype": "STRING"}]}, "datatype 'STRING', which the protocol lacks"),
        ({"inputs": [GOOD, GOOD], "outputs": [GOOD]}, "two inputs of one name"),
        ({"inputs": [GOOD | {"shape": [1] * 17}], "outputs": [GOOD]}, "17 dimensions"),
        ({"inputs": [GOOD | {"name": str(i)} for i in range(257)], "outputs": [GOOD]}, "has 257 inputs"),
    ],
    ids=["nothing", "no outputs", "datatype", "names", "rank", "too many"],
)
def test_metadata_that_no_request_can_be_held_against_is_none(told: dict[str, Any], why: str) -> None:
    with guarded(Plain(ModelMetadata=metadata(**told))) as (server, stub):
        (model,) = server.application.models
        assert model.checked.undecoded is not None
        assert why in model.checked.undecoded.why
        assert stub.infer(request("plain", {"anything": ROW})).outputs[0].name == "echo"


def test_with_a_declared_signature_the_same_server_is_guarded_in_full() -> None:
    outputs = "[{name: echo, datatype: UINT8, shape: [-1]}]"
    signature = f"{{inputs: [{{name: x, datatype: FP32, shape: [-1, 4]}}], outputs: {outputs}}}"
    with guarded(Plain(), signature=signature, fallback="[{value: {echo: [0]}}]") as (server, stub):
        assert stub.infer(request("plain", {"x": ROW})).outputs[0].name == "echo"
        assert refused(stub, request("plain", {"x": ROW[:, :3]})).reason == "INVALID_INPUT"
        assert server.application.models[0].checked.undecoded is None
        assert server.metric("modelward_undecoded", model="plain") == 0


def test_a_signature_that_is_told_after_the_start_is_announced_and_used(caplog: pytest.LogCaptureFixture) -> None:
    def not_found(message: bytes, context: grpc.ServicerContext) -> bytes:
        return context.abort(grpc.StatusCode.NOT_FOUND, "loading")  # raises

    peer = Plain(ModelMetadata=not_found)
    with caplog.at_level(logging.WARNING), guarded(peer, health__startup="1ms", health__refresh="100ms") as (_, stub):
        assert "model plain: requests pass undecoded and unscored: 127.0.0.1:" in caplog.text
        assert stub.infer(request("plain", {"anything": ROW})).outputs[0].name == "echo"
        peer.methods[METADATA] = metadata(inputs=[GOOD], outputs=[GOOD])
        wait_until(lambda: "before no signature is known, requests pass undecoded" in caplog.text, "the announcement")
        assert refused(stub, request("plain", {"anything": ROW})).reason == "INVALID_INPUT"


def test_an_upstream_cannot_say_that_a_guard_has_acted() -> None:
    """Its parameters pass but for those that are ours; what is malformed passes as it came."""
    told = RESPONSE(model_name="plain", raw_output_contents=[b"1234"])
    usual = told.SerializeToString()
    told.parameters["modelward_fallback"].string_param = "deadline"
    told.parameters["modelward_anomaly_score"].double_param = 3.0
    told.parameters["theirs"].string_param = "kept"
    twice = b"\x22\x1c\x0a\x05other\x0a\x13modelward_fallback2"  # an entry with two keys
    answers = [told.SerializeToString(), twice + usual, twice + usual + b"\xff\xff"]
    peer = Plain(ModelInfer=lambda message, context: answers[len(peer.seen) - 1])
    with guarded(peer) as (_, stub):
        seen = [stub.channel.unary_unary(INFER)(named(), timeout=TIMEOUT) for _ in answers]
    assert {name: each.string_param for name, each in RESPONSE.FromString(seen[0]).parameters.items()} == {
        "theirs": "kept"
    }
    assert RESPONSE.FromString(seen[0]).raw_output_contents == [b"1234"]
    assert seen[1:] == [usual, usual + b"\xff\xff"]
