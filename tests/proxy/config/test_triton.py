"""tritonserver's flags: taken with the same meaning, or answered with what to write instead."""

import argparse

import pytest

from modelward.cli.app import main
from modelward.config import triton
from modelward.config.arguments import add_arguments
from modelward.config.from_arguments import from_arguments
from modelward.config.schema import Config
from modelward.config.units import SECOND


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--log-level", default="info")
    return parser.parse_args(argv)


def config(*argv: str) -> Config:
    return from_arguments(parsed(*argv), environ={})


def test_addresses_are_hosts_of_the_listeners() -> None:
    listen = config("--grpc-address", "0.0.0.0", "--http-address=::", "--metrics-port", "9002").listen
    assert (str(listen.grpc), str(listen.http)) == ("0.0.0.0:8001", "[::]:9002")
    assert str(config("--metrics-address", "10.0.0.1", "--allow-metrics=true").listen.http) == "10.0.0.1:8002"
    assert (
        str(config("--grpc-address=0.0.0.0", "--grpc-port=7", "--set", "listen.grpc=unix:/s").listen.grpc)
        == "0.0.0.0:7"
    )


@pytest.mark.parametrize(
    ("argv", "strict", "watch"),
    [
        ([], False, True),
        (["--exit-on-error"], True, True),
        (["--exit-on-error=false", "--model-control-mode=none"], False, False),
        (["--exit-on-error", "true", "--model-control-mode", "poll", "--repository-poll-secs", "15"], True, True),
    ],
)
def test_modes_are_keys_of_ours(argv: list[str], strict: bool, watch: bool) -> None:
    found = config(*argv)
    assert (found.strict, found.watch) == (strict, watch)


def test_the_exit_timeout_is_that_of_a_drain() -> None:
    assert config("--exit-timeout-secs", "45").drain.timeout == 45 * SECOND


@pytest.mark.parametrize(
    ("argv", "level"),
    [
        ([], "info"),
        (["--log-verbose", "1"], "debug"),
        (["--log-verbose=0", "--log-info=true"], "info"),
        (["--log-info=false"], "warning"),
        (["--log-info=0", "--log-warning", "false", "--log-error=1"], "error"),
    ],
)
def test_the_log_says_as_much_as_is_asked_for(argv: list[str], level: str) -> None:
    assert triton.log_level(parsed(*argv)) == level


@pytest.mark.parametrize(
    "argv",
    [
        ["--allow-grpc=true", "--allow-http=true", "--allow-http=false", "--allow-metrics", "--strict-readiness=true"],
        ["--strict-model-config=false"],
    ],
)
def test_what_is_so_in_any_case_is_taken(argv: list[str]) -> None:
    assert config(*argv) == Config()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--allow-grpc=false"], "leave it out"),
        (["--allow-metrics", "false"], "--set listen.http=127.0.0.1:8002"),
        (["--http-port", "8000", "--metrics-port", "8002"], "leave --http-port out"),
        (["--http-address", "a", "--metrics-address", "b"], "leave --http-address out"),
        (["--model-control-mode=explicit"], "write none"),
        (["--load-model=fraud"], "keep the others out of it"),
        (["--strict-model-config=true"], "leave it out"),
        (["--disable-auto-complete-config"], "leave it out"),
        (["--strict-readiness=false"], "/healthz"),
        (["--backend-config=onnxruntime,default-max-batch-size=4"], "models.NAME"),
        (["--grpc-use-ssl=true"], "tls.certificate"),
        (["--log-error=false"], "leave it out"),
        (["--exit-on-error=perhaps"], "neither true nor false"),
        *([[flag, "1"], ""] for flag in triton.ANSWERS),
    ],
)
@pytest.mark.parametrize("command", ["serve", "check"])
def test_what_cannot_be_had_is_one_line_and_exit_2(
    command: str, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"modelward {command}: --")
    assert words in line
