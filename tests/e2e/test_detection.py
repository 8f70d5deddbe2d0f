"""Identities that operators hold at a step: what they get of a model that runs here, and of one of an upstream."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.score import Profile
from modelward_native.testing.steps import HELD_OF_ONE
from tests import models
from tests.commands import modelward
from tests.e2e.messages import Array, Stub, arrays, parameters, request
from tests.e2e.test_operators import told
from tests.support import ServerProcess, serve_process, wait_until

ROW = np.zeros((1, 4), np.float32)
SCORES = np.array(
    [[0.613, 0.217, 0.1, 0.07], [0.26, 0.25, 0.25, 0.24], [0.05, 0.05, 0.05, 0.85], [0.01, 0.98, 0.005, 0.005]],
    np.float32,
)
TOP = np.eye(4, dtype=np.float32)[SCORES.argmax(axis=1)]
TOLD = {"scores": "round", "remote-scores": None}
SPENDERS = ("spender-1", "spender-2", "spender-3", "spender-4", "spender-5", "spender-6")
UNSPENT = iter(SPENDERS)  # a test that is run again needs another one: rows that were sent cost nothing again
RANDOM = np.random.default_rng(5)
VALUE = "[{value: {y: [[7, 7, 7, 7]]}}]"


def ordinary(count: int) -> Array:
    """Rows like those that the profile was fitted on; others each time."""
    return RANDOM.normal(size=(count, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Which has the models of both servers."""
    root = tmp_path_factory.mktemp("detection") / "models"
    models.repository(root, {name: {1: models.identity()} for name in ("scores", "slow", "watched", "counted")})
    profile = Profile.fit({"x": ordinary(3000)})
    for name in ("watched", "counted"):
        profile.save(root / name / "1" / "profile.npz")
    return models.repository(root, {name: {1: models.add_one()} for name in ("add", "told", "other")})


@pytest.fixture(scope="module")
def secrets(root: Path) -> dict[str, str]:
    """A key of each identity, and the file that the server knows them by."""
    keys = root.parent / "keys.json"
    names = ("team-a", "team-b", *SPENDERS)
    return {name: modelward("token", "add", name, "--file", keys).stdout.strip() for name in names} | {"": str(keys)}


@pytest.fixture(scope="module")
def upstream(root: Path) -> Iterator[ServerProcess]:
    theirs = {"remote": {1: models.add_one()}, "remote-scores": {1: models.identity()}}
    with serve_process(models.repository(root.parent / "up", theirs)) as server:
        yield server


@pytest.fixture(scope="module")
def server(root: Path, secrets: dict[str, str], upstream: ServerProcess) -> Iterator[ServerProcess]:
    rules = "[{identity: '*', by: key, models: ['*'], methods: [infer, stream]}, {anonymous: true, models: ['*']}]"
    sets = (
        "workers=2",
        f"access={{keys: {secrets['']}, rules: {rules}}}",
        f"state={root.parent / 'state'}",
        "audit={}",
        "detection.identities=1024",
        f"models.add={{detection: {{mode: observe}}, fallback: {VALUE}}}",
        f"models.told={{detection: {{mode: act, labelled: true}}, fallback: {VALUE}}}",
        "models.scores={detection: {mode: act, labelled: true, delay: 400ms}, outputs: {y: {classes: true}}}",
        "models.slow={detection: {mode: act, delay: 30s}, "
        "outputs: {y: {classes: true, budget: {label: 3, at_most: 4000, window: 24h}}}}",
        "models.counted={detection: {mode: act, budget: 200}, outputs: {y: {classes: true}}}",
        "models.watched={detection: {mode: observe}, outputs: {y: {classes: true}}}",
        f"models.remote-scores={{upstreams: ['{upstream.grpc}'], detection: {{mode: act, delay: 400ms}}, "
        "outputs: {y: {classes: true}}}",
        f"models.remote={{upstreams: ['{upstream.grpc}'], detection: {{mode: observe}}, fallback: {VALUE}}}",
    )
    with serve_process(root, *(word for each in sets for word in ("--set", each))) as server:
        yield server


@pytest.fixture
def at(server: ServerProcess) -> Iterator[tuple[str, str]]:
    """Arguments of commands. Nobody is restricted afterwards."""
    at = ("--admin", server.admin)
    yield at
    for each in told("identities", *at)["restrictions"]:
        assert modelward("identities", "pardon", each["name"], *at).returncode == 0


def ask(
    server: ServerProcess, model: str, key: str | None, rows: Array = ROW
) -> tuple[Array, dict[str, Any], dict[str, Any]]:
    """Output, parameters and trailers of an answer; on a connection of its own, so that workers take turns."""
    with Stub(server.grpc) as stub:
        metadata = (("x-api-key", key),) if key else None
        response, call = stub.infer_call.with_call(request(model, {"x": rows}), metadata=metadata, timeout=10)
        return arrays(response)["y"], parameters(response), dict(call.trailing_metadata())


def restrict(at: tuple[str, str], name: str, step: str, *more: str) -> None:
    done = modelward("identities", "restrict", name, "--step", step, *more, *at)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", ["add", "remote"])
def test_a_blocked_identity_is_refused_and_told_when_to_come_back(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str], model: str
) -> None:
    restrict(at, "team-a", "block", "--model", model, "--reason", "a thief")
    for _ in range(4):
        with pytest.raises(grpc.RpcError) as refused:
            ask(server, model, secrets["team-a"])
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "this model does not answer this caller for a time; retry in" in refused.value.details()
        assert int(dict(refused.value.trailing_metadata())["grpc-retry-pushback-ms"]) > 0
    assert (ask(server, model, secrets["team-b"])[0] == 1).all()
    assert (ask(server, model, None)[0] == 1).all()
    assert (ask(server, "other", secrets["team-a"])[0] == 1).all()
    (held,) = told("identities", *at)["restrictions"]
    assert (held["name"], held["model"], held["step"], held["reason"]) == ("team-a", model, "block", "a thief")
    assert modelward("identities", "pardon", "team-a", *at).returncode == 0
    assert (ask(server, model, secrets["team-a"])[0] == 1).all()


@pytest.mark.parametrize("model", ["add", "remote", "told"])
def test_the_fallback_chain_answers_in_place_of_the_model(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str], model: str
) -> None:
    restrict(at, "team-a", "fallback")
    y, said, trailers = ask(server, model, secrets["team-a"])
    assert (y == 7).all()
    if model == "told":
        assert (said["modelward_restricted"], said["modelward_fallback"]) == ("fallback", "restricted")
        assert trailers["modelward-restricted"] == "fallback"
    else:
        assert not [name for name in (*said, *trailers) if name.startswith("modelward")]
    assert (ask(server, model, secrets["team-b"])[0] == 1).all()


@pytest.mark.parametrize("model", ["scores", "remote-scores"])
def test_scores_of_classes_are_rounded_or_the_top_class_alone_is_told(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str], model: str
) -> None:
    assert (ask(server, model, secrets["team-a"], SCORES)[0] == SCORES).all()
    restrict(at, "team-a", "round")
    y, said, trailers = ask(server, model, secrets["team-a"], SCORES)
    assert np.allclose(y * 10, np.round(y * 10), atol=1e-5)
    assert np.allclose(y.sum(axis=1), 1, atol=1e-5)
    assert (y.argmax(axis=1) == SCORES.argmax(axis=1)).all()
    assert said.get("modelward_restricted") == trailers.get("modelward-restricted") == TOLD[model]
    restrict(at, "team-a", "top_class")
    assert (ask(server, model, secrets["team-a"], SCORES)[0] == TOP).all()
    assert (ask(server, model, secrets["team-b"], SCORES)[0] == SCORES).all()
    assert modelward("identities", "pardon", "team-a", *at).returncode == 0
    y, said, _ = ask(server, model, secrets["team-a"], SCORES)
    assert (y == SCORES).all()
    assert said == {}


@pytest.mark.parametrize("model", ["scores", "remote-scores"])
def test_answers_on_streams_are_softened_too(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str], model: str
) -> None:
    restrict(at, "team-a", "top_class", "--model", model)
    with Stub(server.grpc) as stub:
        messages = [request(model, {"x": SCORES[i : i + 1]}, id=str(i)) for i in range(3)]
        metadata = (("x-api-key", secrets["team-a"]),)
        answers = [*stub.stream_call(iter(messages), metadata=metadata, timeout=10)]
    assert [each.error_message for each in answers] == [""] * 3
    assert (np.concatenate([arrays(each.infer_response)["y"] for each in answers]) == TOP[:3]).all()


@pytest.mark.parametrize("model", ["scores", "remote-scores"])
def test_an_answer_is_held_back_for_a_random_time(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str], model: str
) -> None:
    restrict(at, "team-a", "delay", "--model", model)
    for _ in range(3):
        began = time.monotonic()
        assert (ask(server, model, secrets["team-a"], SCORES)[0] == TOP).all()
        assert time.monotonic() - began >= 0.2
    assert server.metric("modelward_inflight") == 0


def test_held_answers_are_bounded_for_one_identity_and_dropped_when_their_clients_go(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str]
) -> None:
    restrict(at, "team-a", "delay", "--model", "slow")
    metadata = (("x-api-key", secrets["team-a"]),)
    with Stub(server.grpc) as stub:  # one connection: one worker
        calls = [
            stub.infer_call.future(request("slow", {"x": SCORES}), metadata=metadata, timeout=60)
            for _ in range(HELD_OF_ONE + 2)
        ]
        wait_until(lambda: sum(call.done() for call in calls) == 2, "those for which there is no place")
        ended = [call for call in calls if call.done()]
        assert {call.code() for call in ended} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert server.metric("modelward_inflight") == HELD_OF_ONE
        for call in calls:
            call.cancel()
        wait_until(lambda: server.metric("modelward_inflight") == 0, "the end of what was held")


def test_callers_without_an_identity_are_held_by_their_address(server: ServerProcess, at: tuple[str, str]) -> None:
    restrict(at, "127.0.0.1", "block", "--model", "add")
    with pytest.raises(grpc.RpcError, match="does not answer this caller"):
        ask(server, "add", None)
    assert (ask(server, "other", None)[0] == 1).all()


def test_restrictions_outlive_reloads_and_workers_and_are_for_new_models_too(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str], root: Path
) -> None:
    restrict(at, "team-a", "block", "--for", "10m")
    models.repository(root, {"new": {1: models.add_one()}})
    (root / "new" / "model.yaml").write_text("detection: {mode: act}\n")
    assert modelward("reload", *at).returncode == 0
    assert modelward("restart", *at).returncode == 0
    for model in ("add", "new"):
        with pytest.raises(grpc.RpcError, match="does not answer this caller"):
            ask(server, model, secrets["team-a"])


def test_a_restriction_ends_when_its_time_is_over_and_that_is_on_record(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str], root: Path
) -> None:
    restrict(at, "team-b", "block", "--for", "500ms", "--reason", "a test")
    wait_until(lambda: not told("identities", *at)["restrictions"], "the end of the restriction")
    assert (ask(server, "add", secrets["team-b"])[0] == 1).all()
    log = root.parent / "state"

    def verbs() -> list[tuple[str, str]]:
        records = modelward("audit", "query", "--state", log, "--json").stdout
        return [(each["verb"], each["result"]) for each in map(json.loads, records.splitlines())]

    wait_until(lambda: ("identity.released", "done") in verbs(), "the record")
    assert [("identity.restrict", "asked"), ("identity.restrict", "done")] in [
        verbs()[i : i + 2] for i in range(len(verbs()))
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("restrict", "x", "--step", "block", "--model", "ad"), "Did you mean add?"),
        (("restrict", "x", "--step", "block", "--model", "other"), "models.other.detection"),
        (("pardon", "stranger"), "nothing is known of this identity"),
        (("--model", "ad"), "Did you mean add?"),
        (("restrict", "10.0.0.0/8", "--step", "block"), "10.0.0.0/8 is a network"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    at: tuple[str, str], arguments: tuple[str, ...], words: str
) -> None:
    refused = modelward("identities", *arguments, *at)
    assert refused.returncode == 1
    assert words in " ".join(refused.stderr.split())
    assert told("identities", *at)["restrictions"] == []


def test_the_table_shows_who_is_held_and_what_is_watched(at: tuple[str, str]) -> None:
    restrict(at, "team-a", "tag", "--reason", "to be seen")
    shown = modelward("identities", *at).stdout
    assert "held by operators" in shown
    assert "to be seen" in shown
    assert set(told("identities", *at)["watched"]) >= {"add", "told", "remote"}


def test_a_misspelt_name_is_held_and_the_right_one_proposed(at: tuple[str, str]) -> None:
    done = modelward("identities", "restrict", "taem-a", "--step", "block", *at)
    assert done.returncode == 0
    assert done.stdout.startswith("taem-a, all models: held at block until ")
    note = " ".join(done.stderr.split())
    assert "no key has this name" in note
    assert "Did you mean team-a?" in note
    assert not modelward("identities", "restrict", "team-b", "--step", "tag", *at).stderr.count("no key")


def test_a_right_name_is_not_proposed_again_where_rows_of_the_model_are_not_counted(at: tuple[str, str]) -> None:
    note = " ".join(
        modelward("identities", "restrict", "team-b", "--step", "tag", "--model", "add", *at).stderr.split()
    )
    assert "no version with a profile" in note
    assert "Did you mean" not in note


def test_how_far_learning_is_is_told_wherever_operators_look(server: ServerProcess, at: tuple[str, str]) -> None:
    found = {each["model"]: each for each in told("identities", *at)["learning"]}
    assert (found["counted"]["phase"], found["counted"]["needed"], found["counted"]["evidence"]) == (
        "measuring",
        32768,
        [],
    )
    assert found["add"]["phase"] == ""
    assert {each["model"] for each in told("status", *at)["detection"]} == set(found)
    shown = modelward("status", *at).stdout
    assert "detection of counted: measuring, " in shown
    assert "of 32,768 rows, or 8,192 in" in shown
    assert "detection of add: no version with a profile: nothing is evidence" in modelward("identities", *at).stdout
    assert server.metric("modelward_detection_phase", model="counted", phase="measuring") == 1
    assert server.metric("modelward_detection_learning_rows_needed", model="counted") == 32_768
    wait_until(
        lambda: any("model counted learns what its callers send: measuring" in line for line in server.output),
        "the line at the start",
    )


def test_a_step_that_evidence_brings_is_told_everywhere_and_pardoned(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str], root: Path
) -> None:
    for _ in range(140):  # the widths of near duplicates are measured first
        ask(server, "watched", secrets["team-b"], ordinary(256))

    def suspects() -> list[dict[str, Any]]:
        strange = RANDOM.uniform(-8, 8, (64, 4)).astype(np.float32)
        assert (ask(server, "watched", secrets["team-a"], strange)[0] == strange).all()
        found: list[dict[str, Any]] = told("identities", "--model", "watched", *at)["suspects"]
        return [each for each in found if each["name"]]

    (thief,) = wait_until(suspects, "a suspect")
    assert (thief["kind"], thief["name"], thief["model"], thief["gets"]) == ("key", "team-a", "watched", "observe")
    assert thief["evidence"]["unlike"] > 9
    before = thief["today"]

    def blocked() -> list[dict[str, Any]]:
        return [each for each in suspects() if each["step"] == "block"]

    (first,), (later,) = wait_until(blocked, "a block that nobody acts on"), blocked()
    assert later["today"] > first["today"] > before
    assert server.metric("modelward_detection_observed_requests_total", model="watched", step="block") >= 1
    shown = modelward("identities", *at).stdout
    assert "key team-a" in shown
    assert "unlike" in shown
    assert any("'team-a' of model watched rises from" in line for line in server.output)
    assert server.metric("modelward_detection_steps_total", model="watched", signal="unlike") >= 1
    records = modelward("audit", "query", "--state", root.parent / "state", "--verb", "identity.rises", "--json").stdout
    assert json.loads(records.splitlines()[0])["object"] == "key team-a"
    assert modelward("identities", "pardon", "team-a", "--model", "watched", *at).returncode == 0
    assert not [each for each in told("identities", *at)["suspects"] if each["name"] == "team-a"]


def test_rows_between_repeats_in_a_large_request_are_seen_too(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str]
) -> None:
    name = next(UNSPENT)
    for _ in range(3):
        rows = ordinary(257)
        rows[::2] = ROW
        ask(server, "counted", secrets[name], rows)

    def known() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = told("identities", "--model", "counted", *at)["suspects"]
        return [each for each in found if each["name"] == name]

    (spender,) = wait_until(known, "its name")
    assert 200 < spender["today"] < 800  # 384 distinct ones were sent, of which half are looked at, each for two


def test_a_spent_budget_of_rows_brings_less_and_less_until_the_day_ends(
    server: ServerProcess, secrets: dict[str, str], at: tuple[str, str], root: Path
) -> None:
    name, got = next(UNSPENT), list[str]()
    rows = ordinary(40)
    for _ in range(60):
        try:
            y = ask(server, "counted", secrets[name], rows)[0]
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            got.append("nothing")
            break
        got.append("all" if (y == rows).all() else "top" if set(np.unique(y)) == {0, 1} else "rounded")
        rows = ordinary(40)
    assert [*dict.fromkeys(got)] == ["all", "rounded", "top", "nothing"]
    assert 3 <= got.count("all") <= 8  # of 40 rows each, and the count is an estimate

    def known() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = told("identities", "--model", "counted", *at)["suspects"]
        return [each for each in found if each["name"] == name]

    (spender,) = wait_until(known, "its name")
    assert (spender["name"], spender["gets"], spender["budget"]) == (name, "fallback", 200)
    assert spender["today"] >= 400
    assert server.metric("modelward_detection_steps_total", model="counted", step="round", signal="budget") >= 1
    again = rows[:1]
    assert (ask(server, "counted", secrets["team-b"], again)[0] == again).all()
    assert "budget" in modelward("identities", "--model", "counted", *at).stdout
    wait_until(lambda: server.metric("modelward_detection_identities", step="fallback") >= 1, "a count")
    pardoned = modelward("identities", "pardon", name, *at)
    assert "what it has used of today's budget" in pardoned.stdout
    rows = ordinary(40)
    assert (ask(server, "counted", secrets[name], rows)[0] == rows).all()
    shown = modelward("audit", "query", "--state", root.parent / "state", "--verb", "identity.rises").stdout
    assert f"counted  key {name}  top_class -> fallback" in shown


def test_status_tells_how_much_of_a_budget_of_outputs_is_used(server: ServerProcess, at: tuple[str, str]) -> None:
    ask(server, "slow", None, np.tile(SCORES[2], (1000, 1)))
    assert [each["budgets_used"]["y"] >= 0.25 for each in told("status", *at)["models"] if each["name"] == "slow"] == [
        True
    ]
    assert "slow: budgets: y " in modelward("status", *at).stdout
