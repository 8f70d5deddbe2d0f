"""What is kept in order around upstreams: their signatures, health, addresses, figures, and the ids they see."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from modelward.cli.app import main
from modelward.config.load import load
from modelward.config.upstream import UpstreamAddress
from modelward.problem import ProblemsFound
from modelward.score import Profile
from modelward.server.app import Application
from modelward.server.embedded import in_thread
from modelward.upstream import endpoint_manager
from tests.e2e.messages import Stub
from tests.e2e.test_upstreams import Mirror, answer, in_front, infer
from tests.models import add_one, repository
from tests.support import ANYWHERE, EmbeddedServer, ServerProcess, reloadable, serve_process, wait_until

UNREACHABLE = "127.0.0.1:1"
TENSOR = "{name: %s, datatype: FP32, shape: [-1, 4]}"
SIGNATURE = f"{{inputs: [{TENSOR % 'x'}], outputs: [{TENSOR % 'y'}]}}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("upstream"), {"add": add_one()})


@pytest.fixture(scope="module")
def upstream(models: Path) -> Iterator[ServerProcess]:
    with serve_process(models) as running:
        yield running


@contextlib.contextmanager
def mirrored(upstream: ServerProcess) -> Iterator[tuple[Mirror, str]]:
    mirror = Mirror(upstream.grpc)
    server = grpc.server(ThreadPoolExecutor(2), handlers=[mirror])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield mirror, f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def port_of(address: str) -> str:
    return address.rpartition(":")[2]


# ---- what is seen of it


def test_each_endpoint_has_its_figures(upstream: ServerProcess) -> None:
    with in_front([upstream.grpc, UNREACHABLE]) as server:
        for _ in range(3):
            infer(server.grpc)
        assert server.metric("modelward_upstream_requests_total", endpoint=upstream.grpc) == 3
        assert server.metric("modelward_upstream_seconds_count", endpoint=upstream.grpc) == 3
        assert server.metric("modelward_upstream_seconds_sum", endpoint=upstream.grpc) > 0
        assert server.metric("modelward_upstream_failures_total", endpoint=upstream.grpc) == 0
        assert server.metric("modelward_upstream_connected", endpoint=upstream.grpc) == 1
        assert server.metric("modelward_upstream_available", endpoint=upstream.grpc) == 1
        assert server.metric("modelward_upstream_connected", endpoint=UNREACHABLE) == 0
        page = server.page("/metrics")[1]
        for name in ("retries_total", "hedges_total", "silences_total", "ejections_total"):
            assert f'modelward_upstream_{name}{{endpoint="{upstream.grpc}"}} 0' in page
        for state, count in (("closed", 1), ("half-open", 0), ("open", 0)):
            assert f'modelward_upstream_breaker_state{{endpoint="{upstream.grpc}",state="{state}"}} {count}' in page


# ---- ids


def test_a_request_without_ids_is_given_them(upstream: ServerProcess) -> None:
    with mirrored(upstream) as (mirror, address), in_front([address]) as server:
        infer(server.grpc)
        infer(server.grpc)
        (first, _), (second, _) = mirror.seen
        for seen in (first, second):
            assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", seen["traceparent"])
            assert re.fullmatch(r"[0-9a-f]{32}", seen["x-request-id"])
        assert first["x-request-id"] != second["x-request-id"]


def test_the_clients_own_ids_are_passed_on_and_what_belongs_to_the_hop_is_not(upstream: ServerProcess) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with mirrored(upstream) as (mirror, address), in_front([address]) as server:
        ids = (("traceparent", parent), ("x-request-id", "mine"), ("tracestate", "a=b"))
        infer(server.grpc, metadata=(*ids, ("proxy-authorization", "Basic x"), ("trailer", "y")))
        seen, _ = mirror.seen[0]
        assert (seen["traceparent"], seen["x-request-id"], seen["tracestate"]) == (parent, "mine", "a=b")
        assert not {"proxy-authorization", "trailer"} & set(seen)


# ---- signatures, and starting


def test_with_a_declared_signature_the_server_starts_before_its_upstream_and_serves_once_it_is_there(
    models: Path,
) -> None:
    with serve_process(models) as first:
        address = first.grpc
    with in_front([address], models__add__signature=SIGNATURE) as server:
        assert (server.page("/healthz")[0], server.page("/readyz")[0]) == (200, 503)
        with pytest.raises(grpc.RpcError) as refused:
            infer(server.grpc)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        with serve_process(models, "--grpc-port", port_of(address)):
            wait_until(lambda: server.application.upstreams[0].connected, "the connection")
            assert answer(infer(server.grpc)) == [2.0, 3.0, 4.0, 5.0]
            wait_until(lambda: server.page("/readyz")[0] == 200, "the server to be ready")


def test_a_declared_signature_is_what_requests_are_held_to(upstream: ServerProcess) -> None:
    narrow = SIGNATURE.replace("[-1, 4]", "[-1, 3]")
    with in_front([upstream.grpc], models__add__signature=narrow) as server:
        with pytest.raises(grpc.RpcError) as refused:
            infer(server.grpc)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("signature", "finding"),
    [
        (SIGNATURE.replace("FP32", "FP31"), "'FP31' is none of"),
        (SIGNATURE.replace("-1", "-2"), "-2"),
        (f"{{inputs: [{TENSOR % 'x'}, {TENSOR % 'x'}], outputs: [{TENSOR % 'y'}]}}", "two inputs are called 'x'"),
        (f"{{inputs: [], outputs: [{TENSOR % 'y'}]}}", "inputs"),
    ],
    ids=["datatype", "dimension", "names", "none"],
)
def test_a_signature_that_no_model_can_have_is_a_problem(signature: str, finding: str) -> None:
    with pytest.raises(ProblemsFound, match=re.escape(finding)):
        load(sets=[f"models.add.upstreams=[{UNREACHABLE}]", f"models.add.signature={signature}"], environ={})


def test_a_signature_without_upstreams_is_a_problem() -> None:
    with pytest.raises(ProblemsFound, match="signature is only for models with upstreams"):
        load(sets=[f"models.add.signature={SIGNATURE}"], environ={})


def test_for_an_upstream_that_stays_away_requests_pass_undecoded_in_the_end(models: Path) -> None:
    with serve_process(models) as first:
        address = first.grpc
    with in_front([address], health__startup="1ms") as server:
        (model,) = server.application.models
        assert model.checked.undecoded is not None
        assert f"{address}: the upstream cannot be reached" in model.checked.undecoded.why
        with pytest.raises(grpc.RpcError) as refused:
            infer(server.grpc)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        with serve_process(models, "--grpc-port", port_of(address)):
            wait_until(lambda: server.application.upstreams[0].connected, "the connection")
            assert answer(infer(server.grpc)) == [2.0, 3.0, 4.0, 5.0]


def test_an_upstream_that_comes_late_is_waited_for_and_readiness_says_so(models: Path) -> None:
    with serve_process(models) as first:
        address = first.grpc
    said: list[str] = []
    sets = [f"{k}={v}" for k, v in (ANYWHERE | {"models.add.upstreams": f"[{address}]"}).items()]

    async def start() -> str:
        application = Application(load(sets=sets, environ={}))
        starting = asyncio.get_running_loop().create_task(application.start(said.append))
        waited = asyncio.to_thread(wait_until, lambda: application.readiness.reason.startswith("waiting"), "a reason")
        try:
            await waited
            told = EmbeddedServer("", str(application.http_address), application)
            status, page = await asyncio.to_thread(told.page, "/readyz")
            assert status == 503
            with serve_process_in_thread(models, address) as ready:
                await asyncio.to_thread(ready)
                await starting
                assert application.readiness.ready
            return page
        finally:
            await application.stop()

    page = asyncio.run(start())
    reason = f"waiting for the signature of model add from {address}: UNAVAILABLE"
    assert reason in page
    assert any(each.startswith(reason) for each in said), "so a worker tells its supervisor, which answers probes"


@contextlib.contextmanager
def serve_process_in_thread(models: Path, address: str) -> Iterator[object]:
    """The server that is started when the yielded function is called, so that the caller's loop goes on meanwhile."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(serve_process(models, "--grpc-port", port_of(address)))


# ---- health


def test_a_frozen_upstream_is_taken_out_by_its_checks_and_comes_back(models: Path) -> None:
    checks = {"health__interval": "100ms", "health__timeout": "200ms"}
    with serve_process(models) as frozen, in_front([frozen.grpc], **checks) as server:
        (endpoint,) = server.application.upstreams
        frozen.signal_all(signal.SIGSTOP)
        try:
            wait_until(lambda: not endpoint.healthy, "the failed checks")
            assert server.metric("modelward_upstream_available", endpoint=frozen.grpc) == 0
        finally:
            frozen.signal_all(signal.SIGCONT)
        wait_until(lambda: endpoint.healthy and endpoint.connected, "the checks that succeed")
        assert answer(infer(server.grpc)) == [2.0, 3.0, 4.0, 5.0]


# ---- names


def test_endpoints_follow_what_a_name_resolves_to(
    models: Path, upstream: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of(upstream.grpc)
    behind = ["127.0.0.1"]

    async def resolved(address: UpstreamAddress) -> list[str]:
        assert address.host == "model.example"
        return list(behind)

    monkeypatch.setattr(endpoint_manager, "resolve", resolved)
    monkeypatch.setattr(endpoint_manager, "RESOLVE_SECONDS", 0.05)
    name = f"dns:///model.example:{port}"
    elsewhere = ("--set", "listen.grpc=127.0.0.2:0", "--grpc-port", port)
    declared = {"models__add__signature": SIGNATURE}
    with serve_process(models, *elsewhere) as second, in_front([name], **declared) as server:
        infer(server.grpc)
        (first,) = server.application.upstreams
        behind.append("127.0.0.2")
        wait_until(lambda: [e.connected for e in server.application.upstreams] == [True, True], "the second")
        assert rows_of(server.grpc) == rows_of(upstream.grpc) + rows_of(second.grpc) > 0
        behind.remove("127.0.0.1")
        wait_until(lambda: not first.connected, "the first to be let go")
        assert rows_of(server.grpc) == rows_of(second.grpc)
        for _ in range(5):
            assert answer(infer(server.grpc)) == [2.0, 3.0, 4.0, 5.0]
        assert second.metric("modelward_requests_total", model="add", code="OK") == 5
        # counters go on where endpoints do not
        assert server.metric("modelward_upstream_requests_total", endpoint=name) == 6
        assert server.metric("modelward_upstream_connected", endpoint=name) == 1


def rows_of(address: str) -> int:
    with Stub(address) as stub:
        return int(stub.statistics("add").inference_count)


# ---- profiles


def profile(folder: Path, columns: int = 4) -> Path:
    file = folder / "add.npz"
    rows = np.random.default_rng(0).normal(size=(500, columns)).astype(np.float32)
    Profile.fit({"x": rows}).save(file)
    return file


def configured(folder: Path, upstream: ServerProcess) -> Path:
    file = folder / "modelward.yaml"
    lines = ["models:", "  add:", f"    upstreams: ['{upstream.grpc}']", "    anomaly: {profile: add.npz, mode: tag}"]
    file.write_text("\n".join([*lines, "listen: {grpc: '127.0.0.1:0', http: '127.0.0.1:0'}"]))
    return file


def test_requests_for_upstreams_are_scored_against_the_profile_beside_the_configuration(
    upstream: ServerProcess, tmp_path: Path
) -> None:
    profile(tmp_path)
    with in_thread(load(configured(tmp_path, upstream), environ={})) as application:
        response = infer(str(application.grpc_address))
        assert response.parameters["modelward_anomaly_score"].double_param > 0
        assert answer(response) == [2.0, 3.0, 4.0, 5.0]


def outdated(folder: Path) -> Path:
    """As a release before has written it."""
    file = profile(folder)
    with np.load(file) as arrays:
        older = {**arrays, "version": np.array(1, arrays["version"].dtype)}
    np.savez(file, **older)
    return file


def test_a_profile_of_another_model_is_a_problem_where_nothing_else_is_served(
    upstream: ServerProcess, tmp_path: Path
) -> None:
    profile(tmp_path, columns=5)
    config = load(configured(tmp_path, upstream), environ={})
    with pytest.raises(ProblemsFound, match="does not fit the model"), in_thread(config):
        pass


def test_a_model_whose_profile_cannot_be_used_is_refused_alone_until_it_is_mended(
    upstream: ServerProcess, tmp_path: Path
) -> None:
    add = {"models__add__upstreams": f"[{upstream.grpc}]"}
    add["models__add__anomaly"] = f"{{mode: tag, profile: {outdated(tmp_path)}}}"
    with reloadable(tmp_path / "beside", {"local": add_one()}, **add) as server:
        (refused,) = server.application.refused
        assert (refused.name, refused.version) == ("add", "")
        assert "format 1" in str(refused)
        assert answer(infer(server.grpc, model="local")) == [2.0, 3.0, 4.0, 5.0]
        with pytest.raises(grpc.RpcError) as found:
            infer(server.grpc)
        assert found.value.code() is grpc.StatusCode.NOT_FOUND
        assert "model 'add' is known and cannot be served" in (found.value.details() or "")
        server.reload()
        assert server.application.refused
        profile(tmp_path)
        server.reload()
        assert not server.application.refused
        assert answer(infer(server.grpc)) == [2.0, 3.0, 4.0, 5.0]
        outdated(tmp_path)  # one that is served is not lost by a reload
        said = server.reload(models__add__deadline="1ns", models__local__deadline="7s")
        assert any("models.local.deadline" in each for each in said), "the rest of the configuration is followed"
        (kept,) = server.application.refused
        assert (kept.name, kept.kept) == ("add", True)
        assert "the profile cannot be used" in str(kept)
        for _ in range(2):  # with its settings and its profile
            response = infer(server.grpc)
            assert answer(response) == [2.0, 3.0, 4.0, 5.0]
            assert response.parameters["modelward_anomaly_score"].double_param > 0
            server.reload()
        profile(tmp_path)
        server.reload(models__add__deadline=None)
        assert not server.application.refused


def test_check_names_a_model_of_an_upstream_whose_profile_cannot_be_used(
    upstream: ServerProcess, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outdated(tmp_path)
    file = configured(tmp_path, upstream)
    assert main(["check", "--config", str(file)]) == 1
    assert "problem: the profile cannot be used\n  where: model add" in capsys.readouterr().err
    beside = repository(tmp_path / "beside", {"local": add_one()})
    assert main(["check", "--config", str(file), "--set", f"repository={beside}"]) == 3
    assert "refused: model add: the profile cannot be used" in capsys.readouterr().err
    assert main(["check", "--config", str(file), "--set", f"repository={beside}", "--set", "strict=true"]) == 1


# ---- check


def check(*sets: str) -> int:
    return main(["check", *(part for text in sets for part in ("--set", text))])


def test_check_shows_what_an_upstream_tells(upstream: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(f"models.add.upstreams=[{upstream.grpc}]") == 0
    out = capsys.readouterr().out
    for shown in ("add", upstream.grpc, f"signature from {upstream.grpc}", "x FP32 [-1, 4]"):
        assert shown in out


def test_check_notes_that_requests_would_pass_undecoded_to_an_upstream_that_cannot_be_reached(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check(f"models.add.upstreams=[{UNREACHABLE}]") == 0
    out, err = capsys.readouterr()
    assert "no upstream of add can be reached: it would not be ready" in re.sub(r"\s+", " ", out)
    assert "ready to serve" not in out
    assert "note: requests pass undecoded and unscored" in err
    assert err.count("note: ") == 1
    assert f"why: {UNREACHABLE}: the upstream cannot be reached: it did not tell the signature of model add" in err
    assert "mend: Start it, mend the address, or declare" in err


def test_check_finds_an_upstream_whose_models_cannot_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(f"upstreams=[{UNREACHABLE}]") == 1
    err = capsys.readouterr().err
    assert "problem: the upstream cannot be reached" in err
    assert f"where: {UNREACHABLE}" in err


def test_check_passes_a_declared_signature_and_notes_that_its_upstream_is_down(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check(f"models.add.upstreams=[{UNREACHABLE}]", f"models.add.signature={SIGNATURE}") == 0
    out, err = capsys.readouterr()
    assert "signature declared" in out
    assert "the upstream cannot be reached now" in err
