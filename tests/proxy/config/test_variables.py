"""`${NAME}` in paths of the configuration is a variable of the environment."""

from pathlib import Path

import pytest

from modelward.cli.app import main
from modelward.config.load import load
from modelward.config.units import UnitError
from modelward.config.variables import expanded
from modelward.problem import ProblemsFound
from tests import models


def test_a_variable_is_expanded_wherever_it_stands() -> None:
    assert expanded("${A}/b/${C}.pem", {"A": "/a", "C": "c"}) == "/a/b/c.pem"
    assert expanded("/$A/${1}/$${", {}) == "/$A/${1}/$${"
    with pytest.raises(UnitError, match="the environment variable A is not set"):
        expanded("${A}/b", {"A": ""})


def test_paths_hold_variables_and_other_texts_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.repository(tmp_path / "models", {"fraud": models.mlp()})
    for name, value in {"CREDENTIALS_DIRECTORY": "/run/credentials", "NAME": "models", "RUNTIME": "/run/m"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "c.yaml").write_text(
        "repository: ${NAME}\n"
        "listen: {admin: 'unix:${RUNTIME}/admin.sock'}\n"
        "tls: {certificate: '${CREDENTIALS_DIRECTORY}/server.pem', key: 'keys/${NAME}.pem'}\n"
        "access: {jwt: {issuer: '${NAME}', audience: a, jwks: '${CREDENTIALS_DIRECTORY}/keys.json'}}\n"
        "models: {fraud: {upstreams: ['unix:${RUNTIME}/x.sock']}}\n"
        "limits: {shared: {url: 'redis://127.0.0.1:1', password_file: '${CREDENTIALS_DIRECTORY}/p'}}\n"
    )
    monkeypatch.chdir(tmp_path)
    config = load(tmp_path / "c.yaml", ["state=${RUNTIME}/state"], {})
    assert config.tls is not None and config.access is not None and config.access.jwt is not None
    assert config.repository == Path("models")
    assert str(config.listen.admin) == "unix:/run/m/admin.sock"
    assert config.tls.certificate == Path("/run/credentials/server.pem")
    assert config.tls.key == tmp_path / "keys/models.pem"
    assert config.access.jwt.jwks == "/run/credentials/keys.json"
    assert config.access.jwt.issuer == "${NAME}"
    assert config.models["fraud"].upstreams == ("unix:/run/m/x.sock",)
    assert config.limits.shared is not None
    assert config.limits.shared.password_file == Path("/run/credentials/p")
    assert config.state == Path("/run/m/state")


def test_a_variable_that_is_not_set_is_a_problem_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    (tmp_path / "c.yaml").write_text("tls:\n  certificate: ${NO_SUCH}/a.pem\n  key: b.pem\n")
    assert main(["check", "--config", str(tmp_path / "c.yaml")]) == 1
    assert capsys.readouterr().err.startswith(
        "problem: tls.certificate: the environment variable NO_SUCH is not set\n"
        f"  where: {tmp_path}/c.yaml:2\n"
        "  mend: Set it where the server is started, or write the path itself\n"
    )


def test_who_writes_a_model_does_not_read_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = models.repository(tmp_path / "models", {"fraud": models.mlp(), "lite": models.mlp()})
    monkeypatch.setenv("SECRET", "s3cret")
    (root / "fraud/model.yaml").write_text("anomaly:\n  profile: ${SECRET}/p.npz\n")
    (root / "lite/model.yaml").write_text("fallback: [value: {label: ['${SECRET}']}]\n")
    config = load(None, [f"repository={root}"], {})
    (problem,) = config.unusable["fraud"]
    assert problem.what == "profile: a path in model.yaml holds no variables"
    assert problem.where == f"{root}/fraud/model.yaml:2"
    assert "lite" not in config.unusable


def test_a_repository_whose_variable_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    with pytest.raises(ProblemsFound, match="repository: the environment variable NO_SUCH is not set"):
        load(None, ["repository=${NO_SUCH}/models"], {})
