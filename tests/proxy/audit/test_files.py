"""A log in files: what was confirmed is there, whatever happens to the process or the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from modelward.audit import files
from modelward.audit.files import CHECKPOINT, LogReader, LogWriter
from modelward.audit.last import Last
from modelward.audit.merkle import check_consistency, check_inclusion, consistency_proof, inclusion_proof, leaf_hash
from modelward.audit.note import Checkpoint, Signer
from modelward.audit.tiles import nodes
from modelward.audit.verify import verify
from modelward.problem import ProblemsFound

SIGNER = Signer("log.example", bytes(range(32)))


def records(first: int, end: int) -> list[bytes]:
    return [b'{"n":%d,"what":"record"}' % i for i in range(first, end)]


def written(folder: Path, *sizes: int) -> LogReader:
    """A log that grew in these steps."""
    log = LogWriter.open(folder, SIGNER)
    at = 0
    for size in sizes:
        log.add(records(at, size))
        at = size
    log.close()
    return LogReader(folder)


@pytest.mark.parametrize("sizes", [(1,), (255, 256, 257), (3, 300, 301, 1000), (66_000,)])
def test_a_log_is_continued_where_it_ended_and_verifies(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    reader = written(tmp_path, *sizes)
    log = LogWriter.open(tmp_path, SIGNER)
    assert log.checkpoint.size == sizes[-1]
    log.add(records(sizes[-1], sizes[-1] + 2))
    log.close()
    found = verify(reader, SIGNER.verifier)
    assert found.findings == ()
    assert found.records == sizes[-1] + 2
    assert list(reader.records(0, sizes[-1] + 2)) == records(0, sizes[-1] + 2)


def test_proofs_follow_from_the_tiles(tmp_path: Path) -> None:
    reader = written(tmp_path, 300, 700)
    checkpoint = Checkpoint.parse(reader.note().text)
    (before, *_) = [Checkpoint.parse(note.text) for note in reader.history()]
    node = nodes(700, reader.hashes)
    for index in (0, 255, 256, 699):
        record_hash = leaf_hash(records(index, index + 1)[0])
        check_inclusion(record_hash, index, 700, checkpoint.root, inclusion_proof(index, 700, node))
    assert before.size == 300
    check_consistency(300, 700, before.root, checkpoint.root, consistency_proof(300, 700, node))


def test_two_processes_do_not_write_one_log(tmp_path: Path) -> None:
    log = LogWriter.open(tmp_path, SIGNER)
    with pytest.raises(ProblemsFound, match="another server writes this log"):
        LogWriter.open(tmp_path, SIGNER)
    log.close()
    LogWriter.open(tmp_path, SIGNER).close()


@pytest.mark.parametrize("fails_at", range(14))
def test_what_fails_is_not_confirmed_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """At each of the writes to disk in turn."""
    log = LogWriter.open(tmp_path, SIGNER)
    log.add(records(0, 250))
    calls = 0
    sync = os.fsync

    def failing(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at + 1:
            raise OSError(28, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        failed = False
        try:
            log.add(records(250, 260))
        except OSError:
            failed = True
    assert failed == (calls > fails_at)
    size = log.add([]).size
    assert size in ((250, 260) if failed else (260,))
    log.add(records(size, 600))
    log.close()
    found = verify(LogReader(tmp_path), SIGNER.verifier)
    assert found.findings == ()
    assert found.records == 600


def test_what_lies_beyond_the_checkpoint_is_written_over(tmp_path: Path) -> None:
    written(tmp_path, 10)
    confirmed = (tmp_path / CHECKPOINT).read_bytes()
    log = LogWriter.open(tmp_path, SIGNER)
    log.add(records(10, 300))
    log.close()
    (tmp_path / CHECKPOINT).write_bytes(confirmed)
    (tmp_path / files.HISTORY).unlink()
    log = LogWriter.open(tmp_path, SIGNER)
    assert log.checkpoint.size == 10
    log.add(records(10, 20))
    log.close()
    assert verify(LogReader(tmp_path), SIGNER.verifier).findings == ()


def test_a_log_of_another_key_is_not_continued(tmp_path: Path) -> None:
    written(tmp_path, 3)
    other = Signer("log.example", bytes(32))
    with pytest.raises(ProblemsFound, match="the log that lies there was signed by another key") as found:
        LogWriter.open(tmp_path, other)
    (problem,) = found.value.problems
    ours, theirs = other.verifier.key_id.hex(), SIGNER.verifier.key_id.hex()
    assert problem.why == f"it is signed by log.example with the key {theirs}, and not with the key {ours}"
    assert problem.how.startswith("Bring key and key.pub of the server that wrote it")


def test_a_log_without_its_checkpoint_is_not_begun_again(tmp_path: Path) -> None:
    written(tmp_path, 3)
    (tmp_path / CHECKPOINT).unlink()
    with pytest.raises(ProblemsFound, match="lost its checkpoint"):
        LogWriter.open(tmp_path, SIGNER)


def test_a_writer_does_not_go_on_in_an_older_copy_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes on by itself when the right one is back."""
    folder = tmp_path / "log"
    log = LogWriter.open(folder, SIGNER)
    log.add(records(0, 3))
    shutil.copytree(folder, tmp_path / "older")
    log.add(records(3, 5))
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            log.add(records(5, 6))
    folder.rename(tmp_path / "right")
    with pytest.raises(ProblemsFound, match="lost its checkpoint"):
        log.add(records(5, 6))
    shutil.copytree(tmp_path / "older", folder)
    before = (folder / CHECKPOINT).read_bytes()
    for _ in range(2):
        with pytest.raises(ProblemsFound, match="the log was taken back"):
            log.add(records(5, 6))
    assert (folder / CHECKPOINT).read_bytes() == before
    shutil.rmtree(folder)
    (tmp_path / "right").rename(folder)
    assert log.add(records(5, 6)).size == 6
    log.close()
    assert verify(LogReader(folder), SIGNER.verifier).whole


@pytest.mark.parametrize("sizes", [(3, 5), (250, 700), (256, 257)])
def test_a_log_is_opened_only_if_it_holds_what_was_confirmed_last(tmp_path: Path, sizes: tuple[int, int]) -> None:
    last = Last(tmp_path / "last")
    log = LogWriter.open(tmp_path / "log", SIGNER, last=last)
    log.add(records(0, sizes[0]))
    earlier = last.file.read_bytes()
    shutil.copytree(tmp_path / "log", tmp_path / "older")
    log.add(records(sizes[0], sizes[1]))
    log.close()
    with pytest.raises(ProblemsFound, match="the log was taken back"):
        LogWriter.open(tmp_path / "older", SIGNER, last=last)
    with pytest.raises(ProblemsFound, match="the log was taken back"):
        LogWriter.open(tmp_path / "none", SIGNER, last=last)
    last.file.write_bytes(earlier)  # the process ended before the newest was kept
    LogWriter.open(tmp_path / "log", SIGNER, last=last).close()
    other = LogWriter.open(tmp_path / "other", SIGNER)
    other.add(records(1, sizes[1] + 1))
    other.close()
    with pytest.raises(ProblemsFound, match="the log was taken back"):
        LogWriter.open(tmp_path / "other", SIGNER, last=last)


def test_a_record_that_is_too_long_is_not_taken(tmp_path: Path) -> None:
    log = LogWriter.open(tmp_path, SIGNER)
    with pytest.raises(ValueError, match="at most 65535 bytes"):
        log.add([b"x" * 65536])
    assert log.add(records(0, 1)).size == 1
    log.close()


def test_few_files_are_left_of_many_small_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # thousands of them take half a minute on a busy disk
    written(tmp_path, *range(1, 600))
    names = [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()]
    assert len(names) <= 16
    assert not [name for name in names if Path(name).name.startswith(".")]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    written(tmp_path / "log", 300)
    modes: dict[Any, int] = {file: file.stat().st_mode & 0o077 for file in (tmp_path / "log").rglob("*")}
    assert set(modes.values()) == {0}
