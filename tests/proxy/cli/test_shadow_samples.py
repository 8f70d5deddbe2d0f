"""`modelward shadow show` and `replay`: samples on disk listed, opened, and sent to a real server again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelward.cli.app import main
from modelward.cli.shadow_samples import difference, outputs_of, parsed
from modelward.shadow.samples import FOLDER, Sample, Samples, writers_folder
from modelward_native.testing import scan
from tests import models
from tests.e2e.messages import request
from tests.support import EmbeddedServer, serving

ASKED = request("add", {"x": np.array([[1.5]], np.float32)}).SerializeToString()
HOUR = 3600 * 10**9


def answer(version: str, **outputs: np.ndarray) -> bytes:
    kinds = {"float32": "FP32", "int64": "INT64"}
    told = [(name, kinds[array.dtype.name], list(array.shape), array.tobytes()) for name, array in outputs.items()]
    return scan.reply("add", version, outputs=told)


def numbers(*values: float) -> np.ndarray:
    return np.array([[value] for value in values], np.float32)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Of two workers: two samples of shadow 2, and one of another shadow."""
    root = tmp_path / "state" / FOLDER
    first = Sample("add", "2", HOUR, 1.0, ASKED, answer("1", y=numbers(2.5)), answer("2", y=numbers(1.5)))
    last = Sample("add", "2", 3 * HOUR, 0.5, ASKED, answer("1", y=numbers(2.5)), b"\x0a")
    other = Sample("add", "127.0.0.1:9", 2 * HOUR, 0.25, b"", answer("1"), answer(""))
    Samples(writers_folder(root, "add", "2", 0)).add(first)
    Samples(writers_folder(root, "add", "2", 1)).add(last)
    Samples(writers_folder(root, "add", "127.0.0.1:9", 0)).add(other)
    return root.parent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """Version 1 adds one, version 2 does not, version 3 does again."""
    versions = {1: models.add_one(columns=1), 2: models.identity(shape=(models.BATCH, 1)), 3: models.add_one(columns=1)}
    with serving(tmp_path_factory.mktemp("models"), {"add": versions}) as running:
        yield running


def shadow(*arguments: str | Path) -> int:
    return main(["shadow", *map(str, arguments)])


# ---- show


def test_samples_of_all_workers_and_shadows_are_listed_the_newest_first(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shadow("show", "add", "--state", state, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(each["shadow"], each["sample"], each["disagreement"]) for each in told["samples"]] == [
        ("2", "1-1", 0.5), ("127.0.0.1:9", "0-1", 0.25), ("2", "0-1", 1.0),
    ]  # fmt: skip
    assert shadow("show", "add", "2", "--limit", "1", "--state", state) == 0
    table = capsys.readouterr().out
    assert "model add: 1 of 2 samples" in table
    assert "1970-01-01 03:00:00Z" in table


def test_an_opened_sample_shows_request_and_both_answers_side_by_side(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shadow("show", "add", "2", "0-1", "--state", state) == 0
    text = capsys.readouterr().out
    for part in (
        "disagreement 1; 1 of 1 numbers are beyond",
        "version 1",
        "version 2",
        "[[1.5]]",
        "1 of 1, by 1 at most",
    ):
        assert part in text
    assert shadow("show", "add", "2", "0-1", "--state", state, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [[1.5]]}]
    assert (told["primary"]["outputs"][0]["data"], told["of_shadow"]["outputs"][0]["data"]) == ([[2.5]], [[1.5]])
    assert told["comparison"]["beyond"] == 1


def test_an_answer_that_cannot_be_read_is_shown_as_such(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shadow("show", "add", "2", "1-1", "--state", state) == 0
    text = capsys.readouterr().out
    assert "the answer of the shadow cannot be read" in text
    assert "only the model has it" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "7"), "there are no samples of model add"),
        (("other",), "there are no samples of model other"),
        (("add", "2", "9-9"), "there is no sample 9-9 of shadow 2"),
    ],
)
def test_what_there_is_not_is_1(
    arguments: tuple[str, ...], told: str, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shadow("show", *arguments, "--state", state) == 1
    assert told in capsys.readouterr().err


def test_the_folder_is_that_of_the_configuration_or_the_environment(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modelward.yaml").write_text("state: state\n")
    assert shadow("show", "add", "--config", tmp_path / "modelward.yaml") == 0
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    assert shadow("show", "add") == 0
    monkeypatch.setenv("MODELWARD__STATE", str(tmp_path))
    assert shadow("show", "add") == 1


@pytest.mark.parametrize("wrong", [("--limit", "0"), ("--limit", "x"), ("--tolerance", "1"), ("--tolerance", "nan")])
def test_numbers_that_mean_nothing_are_wrong_usage(wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert shadow("show", "add", *wrong) == 2
    assert "error: argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ({"y": numbers(1, 2)}, {"y": numbers(1, 2)}, "none"),
        ({"y": numbers(1, 2, np.nan)}, {"y": numbers(1, 2.5, np.nan)}, "1 of 3, by 0.5 at most"),
        ({"y": numbers(1)}, {"y": numbers(np.nan)}, "1 of 1"),
        ({"y": numbers(1)}, {"y": numbers(1, 2)}, "shape [2, 1] in place of [1, 1]"),
        ({"y": np.array([1, 2])}, {"y": np.array([3, 2])}, "1 of 2"),
        ({"y": np.array([1])}, {"y": numbers(1)}, "datatype FP32 in place of INT64"),
        ({"y": numbers(1)}, {}, "only the model has it"),
        ({}, {"y": numbers(1)}, "only the shadow has it"),
    ],
)
def test_a_difference_is_told_in_words(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], words: str) -> None:
    sides = [outputs_of(parsed("ModelInferResponse", answer("1", **side))) for side in (ours, theirs)]
    assert difference(*(side.get("y") for side in sides)) == words


# ---- replay


def replay(server: EmbeddedServer, state: Path, *arguments: str) -> int:
    return shadow("replay", "add", "2", "--state", state, "--to", server.grpc, *arguments)


def test_two_versions_are_asked_again_and_still_disagree_or_do_not(
    server: EmbeddedServer, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(server, state, "--versions", "1,2", "--json") == 1
    rows = json.loads(capsys.readouterr().out)["samples"]
    assert [(row["sample"], row["before"], row["now"]) for row in rows] == [("1-1", 0.5, 1.0), ("0-1", 1.0, 1.0)]
    assert replay(server, state, "--versions", "1,3") == 0
    assert "0 of 1 numbers are beyond the tolerance" in capsys.readouterr().out


def test_one_version_is_compared_with_the_answer_in_the_sample(server: EmbeddedServer, state: Path) -> None:
    assert replay(server, state, "--versions", "2") == 1
    assert replay(server, state, "--versions", "1") == 0
    assert replay(server, state) == 0


def test_a_refusal_is_told_and_is_no_agreement(
    server: EmbeddedServer, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(server, state, "--versions", "9", "--json") == 1
    rows = json.loads(capsys.readouterr().out)["samples"]
    assert [row["now"] for row in rows] == [None, None]
    assert all("NOT_FOUND" in row["why"] for row in rows)


def test_no_server_is_2_and_no_version_or_sample_is_1(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shadow("replay", "add", "--state", state, "--to", "127.0.0.1:1") == 2
    assert "no server answers at 127.0.0.1:1" in capsys.readouterr().err
    assert shadow("replay", "add", "--state", state, "--to", "127.0.0.1:1", "--versions", "1,2,3") == 1
    assert shadow("replay", "other", "--state", state, "--to", "127.0.0.1:1") == 1
    assert shadow("replay", "add") == 2
