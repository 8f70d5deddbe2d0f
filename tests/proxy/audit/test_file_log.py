"""The log as the trail writes it: each record once, whatever fails in between."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelward.audit.file_log import FileLog
from modelward.audit.note import Signer
from modelward.audit.record import Record, automatic
from modelward.audit.verify import verify

SIGNER = Signer("log.example", bytes(range(32)))


def noted(*names: str) -> list[Record]:
    return [automatic("version.loaded", model=name) for name in names]


def models(log: FileLog) -> list[str]:
    size = log.checkpoint.size
    return [json.loads(record)["model"] for record in log.reader().records(0, size)]


def test_records_are_numbered_from_0_on(tmp_path: Path) -> None:
    log = FileLog.open(tmp_path, SIGNER)
    assert log.append(noted("a", "b")) == [0, 1]
    assert log.append([]) == []
    assert log.append(noted("c")) == [2]
    assert models(log) == ["a", "b", "c"]
    assert [json.loads(record)["n"] for record in log.reader().records(0, 3)] == [0, 1, 2]


@pytest.mark.parametrize("fails_at", range(12))
def test_what_was_not_confirmed_and_is_given_again_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """At each sync in turn: also where the batch is in the log already, and only the confirmation failed."""
    log = FileLog.open(tmp_path, SIGNER)
    log.append(noted("first"))
    batch, calls, sync = noted("a", "b"), 0, os.fsync

    def failing(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls > fails_at:
            raise OSError(5, "Input/output error")
        sync(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        for _ in range(3):  # with more behind it each time
            try:
                log.append(batch)
            except OSError:
                batch += noted(f"more {len(batch)}")
            else:
                batch = []
                break
    numbers = log.append(batch)
    assert numbers == [1 + i for i in range(len(batch))]
    assert models(log)[: 1 + len(batch)] == ["first", *(record.model for record in batch)] or not batch
    assert len(models(log)) == log.checkpoint.size == len(set(models(log)))
    log.close()
    assert verify(log.reader(), SIGNER.verifier).whole


def test_a_batch_that_got_into_the_log_may_be_given_again_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FileLog.open(tmp_path, SIGNER)
    batch, sync = noted("a", "b", "c"), os.fsync
    with monkeypatch.context() as patched:
        renamed = 0

        def replace(old: str, new: str) -> None:
            nonlocal renamed
            os.rename(old, new)
            renamed += str(new).endswith("checkpoint")

        def failing(handle: int) -> None:
            if renamed:
                raise OSError(5, "Input/output error")
            sync(handle)

        patched.setattr(os, "replace", replace)
        patched.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output"):
            log.append(batch)
        with pytest.raises(OSError, match="Input/output"):
            log.append(batch)
    (other,) = noted("d")
    assert log.append([batch[0], other]) == [0, 3]
    assert log.append(batch[1:]) == [1, 2]
    assert models(log) == ["a", "b", "c", "d"]
