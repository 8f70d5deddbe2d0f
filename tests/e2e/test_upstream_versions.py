"""Versions of models that upstreams run: which one answers where its share is decided here, and where it is not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import grpc

from modelward.cli.app import main
from tests.e2e.messages import Stub, parameters, refused, request
from tests.e2e.model_peer import ModelPeer
from tests.e2e.test_approvals import PROPOSED, REASON, House, house
from tests.e2e.test_relay import in_front, listening
from tests.e2e.test_upstream_changes import FOUR, row
from tests.support import ServerProcess, serve_process, wait_until

__all__ = ["house"]

X = {"x": row(4)}
TWO = {"1": FOUR, "2": FOUR}
DECLARED = "{inputs: [{name: x, datatype: FP32, shape: [-1, 4]}], outputs: [{name: y, datatype: FP32, shape: [-1, 4]}]}"


def answered(stub: Stub, model: str = "m", count: int = 40) -> Counter[str]:
    return Counter(stub.infer(request(model, X)).model_version for _ in range(count))


def streamed(stub: Stub, *versions: str) -> list[str]:
    messages = (request("m", X, version=version) for version in versions)
    return [answer.infer_response.model_version for answer in stub.stream_call(messages, timeout=20)]


def reason(stub: Stub, model: str = "m") -> str:
    """Why a request is not answered; empty where it is."""
    try:
        return str(stub.infer(request(model, X)) and "")
    except grpc.RpcError as error:
        return str(dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", error))


def test_shares_of_versions_are_those_of_the_requests_and_a_version_that_is_named_answers() -> None:
    peer = ModelPeer({"m": dict(TWO)})
    seen: list[Any] = []
    peer.infer = lambda asked, context: (seen.append(asked), peer.held(asked, context))[1]
    with (
        listening(peer) as (address, _),
        in_front(upstreams=f"[{address}]", models__m__versions="{1: 1, 2: 1}") as server,
        Stub(server.grpc) as stub,
    ):
        counted = answered(stub, count=200)
        assert set(counted) == {"1", "2"} and min(counted.values()) > 50
        assert {answered(stub, count=1)["2"] for _ in range(20)} == {0, 1}, "each request draws"
        assert Counter(stub.infer(request("m", X, version="1")).model_version for _ in range(20)) == {"1": 20}
        assert set(streamed(stub, *[""] * 40)) == {"1", "2"}, "messages of a stream too"
        assert streamed(stub, "2", "1") == ["2", "1"]
        assert all(each.inputs[0].name == "x" and each.raw_input_contents for each in seen), "nothing else has changed"


def test_without_shares_of_its_own_the_upstream_decides_and_gets_the_bytes_as_they_came() -> None:
    peer = ModelPeer({"m": dict(TWO)})
    seen: list[str] = []
    peer.infer = lambda asked, context: (seen.append(asked.model_version), peer.held(asked, context))[1]
    with listening(peer) as (address, _), in_front(upstreams=f"[{address}]") as server, Stub(server.grpc) as stub:
        assert answered(stub, count=3) == {"2": 3}
        assert streamed(stub, "") == ["2"]
        assert seen == [""] * 4
        assert server.metric("modelward_version_share", model="m") == 0, "nothing is told of shares"


def test_a_fallback_gets_the_version_that_has_the_share() -> None:
    peer = ModelPeer({"m": dict(TWO), "first": {"1": FOUR}})
    fail = {"first"}

    def infer(asked: Any, context: Any) -> Any:
        if asked.model_name in fail:
            context.abort(13, "broken")
        return peer.held(asked, context)

    peer.infer = infer
    settings = {"models__m__versions": "{1: 1}", "models__first__fallback": "[{model: m}]"}
    with (
        listening(peer) as (address, _),
        in_front(upstreams=f"[{address}]", **settings) as server,
        Stub(server.grpc) as stub,
    ):
        answer = stub.infer(request("first", X))
        assert (answer.model_version, parameters(answer)["modelward_fallback_source"]) == ("1", "model:m")


def test_where_no_version_with_a_share_is_left_no_other_takes_over() -> None:
    peer = ModelPeer({"m": dict(TWO), "other": {"1": FOUR}})
    settings = {"models__m__versions": "{1: 1}", "health__refresh": "100ms"}
    with (
        listening(peer) as (address, _),
        in_front(upstreams=f"[{address}]", **settings) as server,
        Stub(server.grpc) as stub,
    ):
        assert answered(stub, count=3) == {"1": 3}
        peer.models["m"] = {"2": FOUR}
        wait_until(lambda: "NO_VERSION" in reason(stub), "version 1 to be gone")
        assert answered(stub, "other", 1) == {"1": 1}
        peer.models["m"] = dict(TWO)
        wait_until(lambda: not reason(stub), "version 1 to be back")
        assert answered(stub, count=3) == {"1": 3}


def test_a_version_of_an_upstream_answers_no_client_before_it_is_approved(house: House) -> None:
    peer = ModelPeer({"m": {"1": FOUR}, "fixed": {"1": FOUR}})
    with listening(peer) as (address, _):
        fixed = f"{{fixed: {{upstreams: ['{address}'], signature: {DECLARED}}}}}"
        house.write(more=f"upstreams: ['{address}']\nhealth: {{refresh: 200ms}}\nmodels: {fixed}\n")
        with house.serving() as server, Stub(server.grpc) as stub:
            assert answered(stub, count=3) == {"1": 3}
            peer.models = {"m": dict(TWO), "fixed": dict(TWO)}
            assert answered(stub, count=5) == {"1": 5}, "also before the new version is noticed"
            wait_until(lambda: "model m has version 2 on its upstreams" in "".join(server.output), "the news")
            assert answered(stub, count=5) == {"1": 5}
            assert refused(stub, request("m", X, version="2")).reason == "UNKNOWN_VERSION"
            index = {(each.name, each.version): each.reason for each in stub.ask("RepositoryIndex").models}
            assert "promotions of this model need approvals" in index["m", "2"]
            assert shares(house) == {("m", "1"): 1.0, ("m", "2"): 0.0, ("fixed", "1"): None}
            # of a model whose versions no request can name
            told = "".join(server.output)
            assert "approvals do not cover the versions of fixed: the upstreams decide which one answers" in told
            ended = house.run("dan", "promote", "fixed", "1", "--steps", "100", *REASON)
            assert (ended.returncode, "its upstreams decide which version answers" in ended.stderr) == (1, True)

            assert house.run("dan", "promote", "m", "2", "--steps", "50,100", *REASON).returncode == PROPOSED
            shown = house.run("bob", "proposals", "1").stdout
            assert "promote m 2 from 0 to 50 %" in shown and f"out of reach, on {address}" in shown
            digest = house.told(1)["digest"]
            assert digest.startswith("sha256:")
            peer.models["m"] = {"1": FOUR, "2": ("FP64", [-1, 4])}
            wait_until(lambda: "takes 'x' FP64" in "".join(server.output), "another signature")
            changed = house.run("bob", "approve", "1")
            assert (changed.returncode, house.state_of(1)) == (1, "void"), "it is not what was proposed"
            peer.models["m"] = dict(TWO)
            wait_until(lambda: "'y' FP32[-1, 4], before" in "".join(server.output), "the first signature again")

            def proposed() -> str:
                number = house.run("dan", "promote", "m", "2", "--steps", "50,100", *REASON).stdout.split()[1]
                return number if house.told(int(number))["digest"] == digest else ""

            number = wait_until(proposed, "the supervisor to know")
            assert house.run("bob", "approve", number).returncode == 0
            wait_until(lambda: stub.infer(request("m", X, version="2")).model_version == "2", "version 2")
            assert set(answered(stub)) == {"1", "2"} and shares(house)["m", "2"] == 0.5
            peer.models["new"] = {"1": FOUR}
            wait_until(lambda: "NO_VERSION" in reason(stub, "new"), "a model that is new")
            assert house.run("dan", "promote", "new", "1", "--steps", "100", *REASON).returncode == PROPOSED
            assert house.run("bob", "approve", str(int(number) + 1)).returncode == 0
            assert answered(stub, "new", 3) == {"1": 3}
            peer.models["m"] = dict.fromkeys("12", ("ODD", [-1, 4]))
            wait_until(lambda: "NO_VERSION" in reason(stub), "no version that can be named")


def test_approvals_cover_a_model_from_its_first_signature_on_and_say_so_where_there_is_none(house: House) -> None:
    odd = ("ODD", [-1, 4])
    peer = ModelPeer({"m": {"1": FOUR}})
    with listening(peer) as (address, _):
        house.write(more=f"upstreams: ['{address}']\nhealth: {{refresh: 200ms}}\n")
        with house.serving() as server, Stub(server.grpc) as stub:
            peer.models["new"] = {"5": FOUR}
            wait_until(lambda: "model new has version 5 on its upstreams" in "".join(server.output), "the news")
            peer.models |= {"new": {"5": odd}, "odd": {"9": odd}}
            wait_until(lambda: "model new on upstream" in "".join(server.output), "another signature")
            told = "approvals do not cover the versions of odd: the upstreams decide which one answers"
            wait_until(lambda: told in "".join(server.output), "a model that is not covered")
            assert "NO_VERSION" in reason(stub, "new"), "it goes on waiting"
            wait_until(lambda: "tell no versions or no signature any more" in "".join(server.output), "why")
            assert told in house.run("bob", "status").stdout
            assert "".join(server.output).count("approvals do not cover") == 1
        with house.serving() as server, Stub(server.grpc) as stub:
            assert "NO_VERSION" in reason(stub, "new"), "after a restart too"
            assert told in "".join(server.output)


def shares(house: House) -> dict[tuple[str, str], float | None]:
    listed = json.loads(house.run("bob", "status", "--json").stdout)["models"]
    theirs = [each for each in listed if each["name"] in ("m", "fixed")]
    return {(each["name"], each["version"]): each.get("share") for each in theirs}


def test_with_version_policy_promoted_a_new_version_of_an_upstream_waits(tmp_path: Path) -> None:
    peer = ModelPeer({"m": {"1": FOUR}})
    with listening(peer) as (address, _):
        sets = (f"upstreams=[{address}]", "version_policy=promoted", "health.refresh=200ms", f"state={tmp_path}")
        arguments = [word for each in sets for word in ("--set", each)]
        with serve_process(*arguments) as server, Stub(server.grpc) as stub:
            peer.models["m"] = dict(TWO)
            wait_until(lambda: server.metric("modelward_version_share", model="m", version="1") == 1, "shares")
            assert answered(stub, count=3) == {"1": 3}
            assert promoted(server, "m", "2") == 0
            assert answered(stub, count=3) == {"2": 3}


def promoted(server: ServerProcess, model: str, version: str) -> int:
    def done() -> bool:
        return main(["promote", model, version, "--steps", "100", *REASON, "--admin", server.admin]) == 0

    return 0 if wait_until(done, "the version to be known") else 1
