"""`modelward check` finds what would keep `serve` from starting, and says how to mend it."""

import json
import re
import socket
from pathlib import Path

import pytest

from modelward.cli.app import main
from tests import models


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return models.repository(tmp_path / "models", {"fraud": models.mlp(), "lite": models.mlp(seed=1)})


def test_a_sound_configuration_is_0_and_a_table(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = repository.parent / "modelward.yaml"
    config.write_text("repository: models\nmodels: {fraud: {deadline: 50ms, fallback: [model: lite]}}")
    assert main(["check", "--config", str(config)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for shown in ("fraud", "lite", "input FP32 [batch, 30]", "label INT64 [batch]", "deadline: 50ms", "fallback: lite"):
        assert shown in out
    assert "admin: 127.0.0.1:8003, no operators, plain TCP: every user of this machine may do everything" in out
    assert main(["check", "--config", str(config), "--set", "listen.admin=unix:/run/admin.sock"]) == 0
    out = capsys.readouterr().out
    assert "every user" not in out
    assert "admin: unix:/run/admin.sock, no operators: this server's user and root may do everything" in out
    bound = [
        "--set",
        "listen.admin=unix:/run/admin.sock",
        "--set",
        "operators.bindings=[{user: 0, roles: administrator}]",
    ]
    assert main(["check", "--config", str(config), *bound]) == 0
    assert "admin:" not in capsys.readouterr().out


def test_a_socket_whose_folder_is_not_there_is_told(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, missing = f"unix:{repository}/admin.sock", f"unix:{repository}/run/admin.sock"
    assert main(["check", str(repository), "--set", f"listen.admin={there}"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["check", str(repository), "--set", f"listen.admin={missing}"]) == 0  # a unit of systemd may make it
    err = capsys.readouterr().err
    assert f"note: serve cannot listen on {missing} as it is" in err
    assert f"why: {repository}/run is no folder" in err


def test_what_watches_a_model_is_shown(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = repository.parent / "c.yaml"
    config.write_text(
        "repository: models\n"
        "models:\n"
        "  fraud:\n"
        "    outputs: {probabilities: {finite: true, range: [0, 1]}}\n"
        "    capture: {share: 0.05}\n"
        "    drift: {share: 0.2}\n"
    )
    assert main(["check", "--config", str(config), "--json"]) == 0
    fraud, lite = json.loads(capsys.readouterr().out)["models"]
    watching = {
        "outputs": "probabilities finite, range",
        "capture": "0.05 of the requests",
        "drift": "0.2 of the requests",
    }
    assert fraud["guards"].items() >= watching.items()
    assert not watching.keys() & lite["guards"].keys()


def test_refused_models_are_told_and_the_others_are_shown_as_served(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models.repository(repository, {"Broken": models.sequence_output()})
    (repository / "fraud/2").mkdir()
    (repository / "fraud/2/model.onnx").write_bytes(models.custom_domain("com.microsoft", "Teleport"))
    arguments = ["check", str(repository), "--set", "models.lite.anomaly.mode=tag"]
    assert main(arguments) == 3
    out, err = capsys.readouterr()
    assert "serve would start on 127.0.0.1:8001, without what is refused" in out
    assert "ready" not in out
    assert re.search(r"fraud +│ 1 ", out)
    assert not re.search(r"lite +│|Broken|│ 2 ", out)
    assert err.startswith(
        "refused: model Broken version 1: output 'parts' is a sequence of tensors, "
        "which the protocol has no tensor for\n"
        f"  where: {repository}/Broken/1/model.onnx\n"
        "  mend: Let the model give plain tensors\n"
        "refused: model lite version 1: anomaly.mode tag needs a profile\n"
        f"  where: {repository}/lite/1/profile.npz\n"
        "  why: none is there\n"
        f"  mend: Fit one: modelward profile fit {repository}/lite/1/model.onnx --data FILE "
        f"--out {repository}/lite/1/profile.npz\n"
        "refused: model fraud version 2: ONNX Runtime cannot load the model\n"
    )
    assert "problem:" not in err
    assert main([*arguments, "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["problems"]) == (False, [])
    assert [(each["name"], each["version"]) for each in told["models"]] == [("fraud", "1")]
    refused = [(each["name"], each["version"]) for each in told["refused"]]
    assert refused == [("Broken", "1"), ("lite", "1"), ("fraud", "2")]
    assert told["refused"][0]["problems"][0]["how"] == "Let the model give plain tensors"


def test_refused_models_are_problems_where_serve_would_not_start(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models.repository(repository, {"Broken": models.sequence_output()})
    assert main(["check", str(repository), "--set", "strict=true"]) == 1
    out, err = capsys.readouterr()
    assert "not ready to serve on 127.0.0.1:8001" in out
    assert "fraud" in out
    assert err.startswith("problem: output 'parts' is a sequence")
    assert "refused: " not in err
    # with no other model
    assert main(["check", str(models.repository(repository / "alone", {"Broken": models.sequence_output()}))]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("problem: output 'parts' is a sequence")


def test_a_model_whose_share_is_of_a_refused_version_is_refused(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "fraud/2").mkdir()
    (repository / "fraud/2/model.onnx").write_bytes(models.custom_domain("com.microsoft", "Teleport"))
    assert main(["check", str(repository), "--set", 'models.fraud.versions={"2": 1}']) == 3
    out, err = capsys.readouterr()
    assert "fraud" not in out
    assert "refused: model fraud: no version that has a share can be served" in err


def test_problems_of_independent_files_and_keys_are_all_told(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = repository.parent / "c.yaml"
    config.write_text(
        "repository: models\n"
        "tls: {certificate: a.pem, key: b.pem, client_ca: c.pem}\n"
        "admin_tls: {certificate: d.pem, key: e.pem, client_ca: f.pem}\n"
        "access: {keys: g.json}\n"
        "models: {frod: {deadline: 1s}, fraud: {fallback: [model: lyte]}}\n"
    )
    assert main(["check", "--config", str(config)]) == 1
    out, err = capsys.readouterr()
    for file in ("a.pem", "b.pem", "c.pem", "d.pem", "e.pem", "f.pem", "g.json"):
        assert f"where: {config.parent}/{file}\n" in err
    assert "models.frod: the repository has no model 'frod'" in err
    assert "models.fraud.fallback[0].model: the repository has no model 'lyte'" in err
    assert "not ready to serve" in out


def test_a_wrong_value_hides_no_other_problem(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = repository.parent / "c.yaml"
    config.write_text(
        "repository: models\n"
        "tls: {certificate: a.pem, key: b.pem}\n"
        "access: {rules: [{anonymous: true, models: '*', methods: infre}]}\n"
        "limits: {shared: {url: 'redis://127.0.0.1:1', password_file: none}}\n"
        "models: {frod: {deadline: 1s}}\n"
    )
    assert main(["check", "--offline", "--config", str(config)]) == 1
    err = capsys.readouterr().err
    assert "access.rules[0].methods[0]: 'infre' is none of" in err
    assert "after validation" not in err
    assert f"where: {config.parent}/a.pem\n" in err
    assert f"where: {config.parent}/b.pem\n" in err
    assert "models.frod: the repository has no model 'frod'" in err
    assert f"note: limits.shared.password_file cannot be read\n  where: {config.parent}/none\n" in err


def test_problems_of_the_configuration_come_with_their_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("limits:\n  stream: 3\n")
    assert main(["check", "--config", str(tmp_path / "c.yaml")]) == 1
    assert f"where: {tmp_path}/c.yaml:2\n  mend: Did you mean streams?" in capsys.readouterr().err


def test_a_model_that_the_runtime_cannot_load_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.onnx").write_bytes(models.custom_domain("com.microsoft", "Teleport"))
    assert main(["check", str(tmp_path / "m.onnx")]) == 1
    assert "ONNX Runtime cannot load the model" in capsys.readouterr().err


def test_json_tells_the_same_to_programs(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", str(repository), "--grpc-port", "0"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["problems"]) == (True, [])
    assert told["config"]["listen"]["grpc"] == "127.0.0.1:0"
    fraud = told["models"][0]
    assert (fraud["name"], fraud["version"], len(fraud["sha256"])) == ("fraud", "1", 64)
    assert fraud["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 30]}]
    assert set(fraud["guards"].values()) == {"off"}


def test_json_tells_problems_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", "--set", "workers=0"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["config"], told["models"]) == (False, None, [])
    assert set(told["problems"][0]) == {"what", "where", "why", "how"}


def test_notes_are_no_problems(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "fraud/config.pbtxt").touch()
    assert main(["check", str(repository)]) == 0
    assert "note: Triton's config.pbtxt is not read" in capsys.readouterr().err


def test_names_cannot_speak_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.repository(tmp_path, {"a\x1b]0;owned\x07\n[red]": models.mlp()})
    assert main(["check", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", err)
    assert r"\x1b]0;owned\x07" in err
    assert "[red]" in err


def _check_access(folder: Path, access: str, more: str = "") -> int:
    (folder / "c.yaml").write_text(f"repository: models\n{more}\naccess:\n{access}")
    return main(["check", "--config", str(folder / "c.yaml")])


def test_files_of_access_that_cannot_be_used_are_problems(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = repository.parent
    (folder / "open.json").write_text('{"keys": []}')
    (folder / "open.json").chmod(0o666)
    (folder / "none.json").write_text("{}")
    jwt = "{issuer: i, audience: a, jwks: none.json}"
    rules = "  rules: [{identity: a, models: ['*']}]\n"
    assert _check_access(folder, f"  keys: missing.json\n{rules}") == 1
    assert f"access.keys cannot be read\n  where: {folder}/missing.json" in capsys.readouterr().err
    assert _check_access(folder, f"  keys: open.json\n  jwt: {jwt}\n{rules}") == 1
    err = capsys.readouterr().err
    assert "access.keys can be written by others (mode 666)" in err
    assert "access.jwt.jwks holds no key set" in err
    assert _check_access(folder, f"  certificates: true\n{rules}") == 1
    assert "no client certificate is ever asked for" in capsys.readouterr().err


def test_rules_of_access_that_do_nothing_are_noted(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = repository.parent
    keys_file = folder / "keys.json"
    assert main(["token", "add", "a", "--file", str(keys_file)]) == 0
    keys_file.chmod(0o644)
    rules = (
        "  rules:\n"
        "    - {identity: a, models: [fraud, lyte]}\n"
        "    - {identity: b, by: jwt, models: ['*']}\n"
        "    - {identity: c, models: ['l*']}\n"
    )
    capsys.readouterr()
    assert _check_access(folder, f"  keys: keys.json\n{rules}", "listen: {grpc: '0.0.0.0:8001'}") == 0
    err = capsys.readouterr().err
    for told in (
        "access.keys can be read by others (mode 644)",
        "no model is called 'lyte'\n  where: access.rules[0]\n  mend: Did you mean lite?",
        "no caller can be 'b'\n  where: access.rules[1]\n  why: access has no jwt to prove it by",
        "0.0.0.0:8001 has no TLS",
    ):
        assert told in err
    assert "'l*'" not in err
    assert _check_access(folder, "  keys: keys.json\n") == 0
    assert "no rule: no client may call anything" in capsys.readouterr().err


def test_offline_no_other_server_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        upstream = f"127.0.0.1:{bound.getsockname()[1]}"
        rules = "access={keys: keys.json, rules: [{anonymous: true, models: elsewhere}]}"
        arguments = ["check", "--json", "--upstream", upstream, "--set", rules.replace("keys: keys.json, ", "")]
        assert main(arguments) == 1
        capsys.readouterr()
        assert main([*arguments, "--offline", "--set", "models.elsewhere.deadline=1s"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert (note["what"], note["where"]) == ("1 upstream was not asked", "--offline")
    assert note["why"] == "not checked: model elsewhere"


def test_keys_of_tokens_that_cannot_be_had_are_noted(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        url = f"https://127.0.0.1:{bound.getsockname()[1]}/keys"
        access = f"  jwt: {{issuer: i, audience: a, jwks: '{url}'}}\n  rules: [{{identity: a, models: ['*']}}]\n"
        assert _check_access(repository.parent, access) == 0
    err = capsys.readouterr().err
    assert (
        f"note: the keys of access.jwt.jwks cannot be had now\n  where: {url}\n  why: cannot connect to 127.0.0.1:"
        in err
    )
    assert "SSLContext" not in err
