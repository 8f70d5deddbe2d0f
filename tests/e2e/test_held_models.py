"""Models of which no version may answer: clients are told that they are there, and their fallback chains answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import numpy as np
import pytest

from tests import models
from tests.e2e.messages import Stub, arrays, parameters, refusal, refused, request
from tests.signing import keys, signed
from tests.support import EmbeddedServer, serving, wait_until

X = np.full((1, 4), 3, np.float32)
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
VALUE = "{value: {y: [[7, 7, 7, 7]]}}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """Signatures count of good and of broken alone."""
    folder = tmp_path_factory.mktemp("held")
    unsigned: dict[int, bytes] = {1: models.add_one(), 2: models.add_one()}
    names = ("plain", "sure", "last", "other", "constant")
    root = models.repository(folder / "models", dict.fromkeys(names, unsigned))
    models.repository(root, {"good": models.add_one(), "broken": b"no"})
    for name in ("good", "broken"):
        signed(root / name / "1/model.onnx", keys(folder))
    chains = {
        "models__sure__fallback": "[{last_good: {max_age: 1m}}, {model: good}]",
        "models__last__fallback": f"[{{model: plain}}, {{model: good}}, {VALUE}]",
        "models__other__fallback": "[{model: plain}]",
        "models__constant__fallback": f"[{VALUE}]",
    }
    integrity = {"integrity__require": "true", "integrity__keys__release": keys(folder).public}
    with serving(root, {}, **chains, **integrity) as running:
        yield running


@pytest.mark.parametrize("model", ["plain", "other", "constant"])
def test_where_nothing_answers_in_its_place_it_is_unavailable_and_no_path_is_told(
    server: EmbeddedServer, model: str
) -> None:
    with Stub(server.grpc) as stub:
        for version in ("", "1", "2"):
            found = refused(stub, request(model, {"x": X}, version=version))
            assert (found.code, found.reason) == (UNAVAILABLE, "NO_VERSION")
            assert found.message == "no version of this model may answer now: RepositoryIndex says why"
        assert refused(stub, request(model, {"x": X[:, :2]})).reason == "NO_VERSION", "what it takes is not known"
        for method in ("ModelMetadata", "ModelConfig", "ModelStatistics"):
            with pytest.raises(grpc.RpcError) as error:
                stub.ask(method, name=model)
            told = refusal(error.value)
            assert (told.code, told.reason) == (UNAVAILABLE, "NO_VERSION")
        assert not stub.ask("ModelReady", name=model).ready
    assert server.metric("modelward_refusals_total", model=model, reason="NO_VERSION") == 4


@pytest.mark.parametrize("model", ["sure", "last"])
@pytest.mark.parametrize("version", ["", "1", "2"])
def test_a_model_of_the_fallback_chain_that_may_answer_does(server: EmbeddedServer, model: str, version: str) -> None:
    with Stub(server.grpc) as stub:
        answer = stub.infer(request(model, {"x": X}, version=version))
        np.testing.assert_array_equal(arrays(answer)["y"], X + 1)
        told = parameters(answer)
        assert (told["modelward_fallback"], told["modelward_fallback_source"]) == ("failure", "model:good")
        assert not stub.ask("ModelReady", name=model).ready
        assert refused(stub, request(model, {"x": X[:, :2]})).reason == "NO_VERSION", "the fallback takes others"
        assert refused(stub, request(model, {"x": X}, version="3")).reason == "UNKNOWN_VERSION"
    assert server.metric("modelward_fallbacks_total", model=model, reason="NO_VERSION") >= 1


def test_the_index_lists_each_version_once_and_what_could_never_be_opened_stays_unknown(server: EmbeddedServer) -> None:
    with Stub(server.grpc) as stub:
        index = [(each.name, each.version, each.state) for each in stub.ask("RepositoryIndex").models]
        assert sorted(index) == sorted(set(index))
        assert ("plain", "1", "UNAVAILABLE") in index and ("plain", "2", "UNAVAILABLE") in index
        assert refused(stub, request("broken", {"x": X})).code is grpc.StatusCode.NOT_FOUND
    assert server.page("/readyz")[0] == 200, "another model can be answered"


def test_a_server_is_not_ready_while_no_version_of_any_model_may_answer(tmp_path: Path) -> None:
    operators = {"bindings": [{"user": 0, "roles": ["approver"]}]}
    needed = {"operators": operators, "approvals": {"promote": 1}, "listen__admin": f"unix:{tmp_path}/admin"}
    versions = {1: models.add_one(), 2: models.add_one()}
    with serving(tmp_path / "models", {"add": versions}, **needed) as server, Stub(server.grpc) as stub:
        application = server.application
        digests = {
            version: model.checked.provenance.digest
            for model in application.models
            for version in [model.checked.version]
        }

        def approve(*approved: str) -> None:
            assert application.loop is not None
            known = {"add": {version: digests[version] for version in approved}}
            application.loop.call_soon_threadsafe(application.serving.share, {"add": {"1": 1}}, known)

        def ready() -> tuple[int, str]:
            try:
                with urlopen(f"http://{server.http}/readyz", timeout=10) as page:
                    return page.status, page.read().decode()
            except HTTPError as error:
                return error.code, error.read().decode()

        approve("1")
        wait_until(lambda: ready()[0] == 200, "to be ready")
        assert stub.infer(request("add", {"x": X})).model_version == "1"
        assert refused(stub, request("add", {"x": X}, version="2")).reason == "UNKNOWN_VERSION"
        approve()
        wait_until(lambda: ready()[0] == 503, "not to be ready")
        assert "no version of any may answer before one is promoted" in ready()[1]
        assert not stub.ask("ServerReady").ready and not stub.ask("ModelReady", name="add").ready
        for version in ("", "1", "2"):
            assert refused(stub, request("add", {"x": X}, version=version)).reason == "NO_VERSION"
        index = [(each.version, each.state) for each in stub.ask("RepositoryIndex").models]
        assert sorted(index) == [("1", "UNAVAILABLE"), ("2", "UNAVAILABLE")]
        approve("1", "2")
        wait_until(lambda: ready()[0] == 200, "to be ready again")
        assert stub.infer(request("add", {"x": X}, version="2")).model_version == "2"
        assert stub.ask("ModelReady", name="add").ready
