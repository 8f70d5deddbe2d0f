"""The trail that a configuration asks for: its folder, its key, and what is told where they are not as they must be."""

from __future__ import annotations

import asyncio
import shutil
import stat
from pathlib import Path

import pytest

from modelward.audit import key
from modelward.audit.opening import LAST, LOG, examine, open_reader, open_trail
from modelward.audit.record import automatic
from modelward.audit.recorder import NotRecorded
from modelward.cli.app import main
from modelward.config.audit import Audit
from modelward.config.load import load
from modelward.config.schema import Config
from modelward.problem import ProblemsFound


def config_of(state: Path, *sets: str) -> Config:
    return load(sets=[f"state={state}", "repository=models", *sets], environ={})


def written(config: Config) -> None:
    """A log with one record."""

    async def write() -> None:
        assert config.audited is not None
        trail = open_trail(config.audited, config)
        await trail.start()
        trail.note(automatic("server.start"))
        await trail.stop()
        assert not trail.stats().waiting

    asyncio.run(write())


def test_it_is_on_where_audit_or_operators_are_configured(tmp_path: Path) -> None:
    assert config_of(tmp_path).audited is None
    assert config_of(tmp_path, "audit={}").audited == Audit()
    assert config_of(tmp_path, "audit=").audited == Audit(), "all its lines commented out"
    operators = "operators={bindings: [{user: root, roles: administrator}]}"
    assert config_of(tmp_path, operators, f"listen.admin=unix:{tmp_path}/admin.sock").audited == Audit()


def test_the_key_is_made_once_and_is_the_servers_alone(tmp_path: Path) -> None:
    config = config_of(tmp_path, "audit={name: fraud-1}")
    written(config)
    folder = tmp_path / "audit"
    made = (folder / key.PRIVATE).read_text()
    assert stat.S_IMODE((folder / key.PRIVATE).stat().st_mode) == 0o600
    assert made.startswith("PRIVATE+KEY+modelward/fraud-1+")
    written(config_of(tmp_path, "audit={name: fraud-2}"))
    assert (folder / key.PRIVATE).read_text() == made, "a log keeps its name"
    reader, verifier = open_reader(Audit(), tmp_path)
    assert str(verifier) == str(key.load(folder).verifier)
    assert [b'"server":"fraud-%d"' % i in record for i, record in enumerate(reader.records(0, 2), 1)] == [True, True]


def test_a_key_that_was_lost_is_not_made_again(tmp_path: Path) -> None:
    config = config_of(tmp_path, "audit={}")
    written(config)
    (tmp_path / "audit" / key.PRIVATE).unlink()
    with pytest.raises(ProblemsFound, match="the log has lost its key"):
        open_trail(Audit(), config)
    problems, _ = examine(Audit(), tmp_path)
    assert problems[0].what == "the log has lost its key"


def test_a_key_that_was_changed_is_told_and_not_shown(tmp_path: Path) -> None:
    written(config_of(tmp_path, "audit={}"))
    file = tmp_path / "audit" / key.PRIVATE
    secret = file.read_text().strip().split("+", 4)[4]  # in base64, which may have more of these
    file.write_text(file.read_text().replace("+", "-", 2))
    (problem,) = examine(Audit(), tmp_path)[0]
    assert problem.what == "this is no key of a log"
    assert secret not in str(problem)


def test_check_tells_of_a_folder_that_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    _, (note,) = examine(Audit(folder=tmp_path / "file" / "audit"), None)
    assert "refused until it can" in note.why
    assert examine(Audit(), tmp_path) == ([], [])
    main(["check", "--offline", "--set", f"state={tmp_path / 'file' / 'state'}", "--set", "audit={}"])
    assert "the audit trail cannot be written" in capfd.readouterr().err


def test_a_first_start_needs_a_folder_for_the_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProblemsFound, match="the key of the audit trail cannot be made"):
        open_trail(Audit(folder=tmp_path / "file" / "audit"), config_of(tmp_path))


def test_a_server_starts_beside_a_log_that_cannot_be_continued(tmp_path: Path) -> None:
    """It answers requests, and does nothing for people."""
    config = config_of(tmp_path, "audit={}")
    written(config)
    (tmp_path / "audit" / LOG / "checkpoint").unlink()

    async def start() -> None:
        trail = open_trail(Audit(), config)
        await trail.start()
        assert "the log has lost its checkpoint" in trail.words
        with pytest.raises(NotRecorded, match="audit verify"):
            await trail.confirm(automatic("server.start"))
        await trail.stop()

    asyncio.run(start())


def test_a_start_with_an_older_copy_of_the_log_is_told_until_an_administrator_decides(tmp_path: Path) -> None:
    config = config_of(tmp_path, "audit={}")
    written(config)
    log = tmp_path / "audit" / LOG
    shutil.copytree(log, tmp_path / "older")
    written(config)
    shutil.rmtree(log)
    shutil.move(tmp_path / "older", log)

    async def refused() -> bool:
        trail = open_trail(Audit(), config)
        await trail.start()
        try:
            await trail.confirm(automatic("server.start"))
        except NotRecorded as error:
            assert "the log was taken back" in str(error)
            assert "the log was taken back" in trail.words
            assert trail.stats().up == 0
            return True
        finally:
            await trail.stop()
        return False

    assert asyncio.run(refused())
    assert asyncio.run(refused())
    (tmp_path / "audit" / LAST).unlink()
    assert not asyncio.run(refused())


def test_the_log_is_beside_its_key_and_not_with_it(tmp_path: Path) -> None:
    written(config_of(tmp_path, "audit={}"))
    assert {file.name for file in (tmp_path / "audit").iterdir()} == {key.PRIVATE, key.PUBLIC, LAST, LOG}
    assert not [file for file in (tmp_path / "audit" / LOG).rglob("key*")]
