"""What is wrong with stores and witnesses is told before a server starts with them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from modelward.audit.checking import problems, unreachable
from modelward.audit.note import Signer
from modelward.config.schema import Config
from tests import postgres


def config(**audit: Any) -> Config:
    return Config.model_validate({"audit": audit})


def test_a_database_that_answers_is_fine() -> None:
    with postgres.running() as server:
        asked = config(postgres=server.url())
        assert (problems(asked), unreachable(asked)) == ((), ())
        server.kill()
        (note,) = unreachable(asked)
    assert "postgresql:///postgres cannot be reached" in note.what
    assert note.why == "what operators ask for is refused until it answers"


def test_without_the_driver_nothing_could_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    (problem,) = problems(config(postgres="postgresql:///audit"))
    assert problem.what == "the package psycopg is not installed"


@pytest.mark.parametrize("key", ["something", str(Signer("log.example", bytes(32)).verifier)])
def test_a_key_that_is_none_of_a_witness_is_told(key: str) -> None:
    (problem,) = problems(config(witnesses=[{"url": "https://witness.example", "key": key}]))
    assert problem.what == "this is no key of a witness"


def test_files_need_nothing(tmp_path: Path) -> None:
    asked = config(folder=str(tmp_path), witnesses=[{"folder": str(tmp_path)}])
    assert (problems(asked), unreachable(asked)) == ((), ())
    assert (problems(Config()), unreachable(Config())) == ((), ())
