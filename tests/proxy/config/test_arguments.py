"""Flags of serve and check, Triton's names among them."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelward.config.arguments import add_arguments
from modelward.config.from_arguments import from_arguments
from modelward.config.outer_state import state_of_arguments
from modelward.config.schema import Config
from modelward.problem import ProblemsFound, WrongUsage


def config(*argv: str, environ: Mapping[str, str] | None = None) -> Config:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return from_arguments(parser.parse_args(argv), environ=environ or {})


def problem(*argv: str) -> str:
    with pytest.raises(ProblemsFound) as found:
        config(*argv)
    return str(found.value)


WITH_APPROVALS = """
listen: {admin: 'unix:/run/admin.sock'}
operators: {bindings: [{user: 1, roles: [administrator, approver]}]}
approvals: {reload: 1}
"""
GIVEN = ({"STATE_DIRECTORY": "/var/lib/m"}, {"MODELWARD__STATE": "/var/lib/m"})


def test_a_file_whose_changes_need_approvals_does_not_say_where_approved_ones_lie(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    arguments = ("--config", str(file))
    file.write_text(WITH_APPROVALS)
    assert "changes of the configuration need approvals, and no state is given" in problem(*arguments)
    assert config(*arguments, "--set", "state=/var/lib/m").state == Path("/var/lib/m")
    assert [config(*arguments, environ=each).approvers("reload") for each in GIVEN] == [1, 1]
    file.write_text(f"state: elsewhere{WITH_APPROVALS}")
    for also in ((), ("--set", "state=/var/lib/m")):
        found = problem(*arguments, *also)
        assert "state stands in a file whose changes need approvals" in found
        assert f"{file}:1" in found
        assert "Take it out. Give it by --set state=DIR, or by the environment variable STATE_DIRECTORY" in found
    file.write_text(f"state: elsewhere{WITH_APPROVALS}".replace("reload: 1", "reload: 0"))
    assert config(*arguments).state == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("argv", "environ", "folder"),
    [
        ((), {}, ".modelward"),
        (("--set", "state=${PLACE}/m"), {"MODELWARD__STATE": "/other"}, "/place/m"),
        ((), {"MODELWARD__STATE": "/other"}, "/other"),
        (("--set", "state=[1]"), {}, ".modelward"),
        (("--set", "state=${NO_SUCH_PLACE}"), {}, ".modelward"),
    ],
)
def test_what_was_approved_is_looked_for_where_the_command_line_and_the_environment_say(
    argv: tuple[str, ...], environ: dict[str, str], folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "/place")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    file = tmp_path / "c.yaml"
    file.write_text("state: elsewhere")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert state_of_arguments(parser.parse_args(["--config", str(file), *argv]), environ) == Path(folder)


@pytest.mark.parametrize("argv", [("models",), ("--model-repository", "models")])
def test_the_repository_is_named_by_position_or_by_tritons_flag(argv: tuple[str, ...]) -> None:
    assert config(*argv).repository == Path("models")


def test_a_named_repository_wins_over_the_file_and_over_set(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("repository: elsewhere")
    named = config("models", "--config", str(tmp_path / "c.yaml"), "--set", "repository=third")
    assert named.repository == Path("models")


def test_a_repository_named_twice_is_refused() -> None:
    assert "named twice" in problem("a", "--model-repository", "b")


def test_a_port_flag_keeps_the_configured_host() -> None:
    listen = config("--grpc-port", "9001", "--set", "listen.grpc=[::1]:1", "--http-port", "0").listen
    assert (str(listen.grpc), str(listen.http)) == ("[::1]:9001", "127.0.0.1:0")


def test_the_metrics_port_is_the_http_port() -> None:
    assert str(config("--metrics-port", "9002").listen.http) == "127.0.0.1:9002"
    assert str(config("--metrics-port", "9002", "--http-port", "9002").listen.http) == "127.0.0.1:9002"
    with pytest.raises(WrongUsage, match=r"share listen\.http.*leave --http-port out"):
        config("--metrics-port", "9002", "--http-port", "9003")


def test_a_port_does_not_fit_a_socket_path_nor_beyond_its_range() -> None:
    assert "a port does not fit unix:/s" in problem("--grpc-port", "1", "--set", "listen.grpc=unix:/s")
    assert "port 65536 is not between 0 and 65535" in problem("--grpc-port", "65536")
