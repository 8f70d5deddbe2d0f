"""The command line itself: help is instant, usage errors are 2, problems are 1."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelward.cli.app import COMMANDS, main

ROOT = Path(__file__).parents[3]


def test_help_lists_every_command_and_loads_none(capsys: pytest.CaptureFixture[str]) -> None:
    script = (
        "import sys; from modelward.cli.app import main; code = main(['--help']); print(*sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"  {name} " in done.stdout or f"  {name}\n" in done.stdout for name in COMMANDS)
    loaded = done.stdout.splitlines()[-1].split()
    assert not {"numpy", "onnx", "onnxruntime", "pydantic", "rich", "yaml", "grpc"} & set(loaded)


@pytest.mark.parametrize("argv", [[], ["profile"], ["check", "--grpc-port", "x"]])
def test_wrong_usage_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert "usage: modelward" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["check", "--grcp-port", "1"], "did you mean --grpc-port?"),
        (["serve", "--no-such-flag=3"], "--help lists all flags"),
        (["check", "a", "b"], "unrecognized arguments: b"),
    ],
)
def test_an_unknown_flag_is_2_and_one_line_with_what_was_perhaps_meant(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"modelward {argv[0]}: unrecognized arguments: ")
    assert words in line


def test_the_module_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "modelward", "schema"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout[:1], done.stderr) == ("{", "")


def test_a_reader_that_leaves_early_causes_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        command = [sys.executable, "-m", "modelward", "schema"]
        done = subprocess.run(command, cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_a_stdout_that_is_full_is_one_line() -> None:
    command = [sys.executable, "-m", "modelward", "schema"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"modelward: output cannot be written: No space left on device\n")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["server"], "modelward: there is no command 'server': did you mean serve?"),
        (["seal"], "modelward: there is no command 'seal': modelward model seal"),
        (["frobnicate"], "modelward: there is no command 'frobnicate': modelward --help lists the commands"),
        (["status", "--admin", "foo"], "modelward status: --admin: 'foo' has no port"),
    ],
)
def test_what_cannot_be_meant_is_2_and_one_line(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(words)
