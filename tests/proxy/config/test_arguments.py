"""Flags of serve and check, Triton's names among them."""

import argparse
from pathlib import Path

import pytest

from modelward.config.arguments import add_arguments, from_arguments
from modelward.config.schema import Config
from modelward.problem import ProblemsFound, WrongUsage


def config(*argv: str) -> Config:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return from_arguments(parser.parse_args(argv), environ={})


def problem(*argv: str) -> str:
    with pytest.raises(ProblemsFound) as found:
        config(*argv)
    return str(found.value)


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
