"""Whether models are to be read is guessed before the configuration is: what reads them starts earlier then."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from modelward.cli.serve import LARGEST_FILE, add_arguments, names_models


def guessed(*words: str, **environ: str) -> bool:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return names_models(parser.parse_args(words), environ)


@pytest.mark.parametrize(
    ("words", "environ"),
    [
        (["models"], {}),
        (["--model-repository", "models"], {}),
        (["--set", "repository=models"], {}),
        ([], {"MODELWARD__REPOSITORY": "models"}),
    ],
)
def test_a_repository_is_foreseen_wherever_it_is_named(words: list[str], environ: dict[str, str]) -> None:
    assert guessed(*words, **environ)


def test_a_server_in_front_of_others_is_foreseen_to_have_none() -> None:
    assert not guessed("--upstream", "127.0.0.1:1", GITHUB_REPOSITORY="theirs")
    assert not guessed("--set", "models.m.upstreams=[127.0.0.1:1]")


def test_a_configuration_is_looked_into_if_it_is_an_ordinary_file(tmp_path: Path) -> None:
    file, pipe = tmp_path / "modelward.yaml", tmp_path / "pipe"
    for text, expected in (
        ("repository: models\n", True),
        ("models: {m: {upstreams: [127.0.0.1:1]}}\n", False),
        ("repository: models\n" + "#" * LARGEST_FILE, False),
    ):
        file.write_text(text)
        assert guessed("--config", str(file)) == expected
    os.mkfifo(pipe)
    for other in (pipe, tmp_path, tmp_path / "none"):
        assert not guessed("--config", str(other))
