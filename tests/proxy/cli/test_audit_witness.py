"""`modelward audit witness`: a process of its own, with a key of its own; `audit sql` prints what PostgreSQL needs."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from modelward.audit.note import COSIGNATURE, Checkpoint, Note, Signer, Verifier, stamped
from modelward.audit.witness import Request
from tests.commands import modelward

LOG = Signer("log.example", bytes(range(32)))


def words(folder: Path, *more: str) -> list[str]:
    start = ["audit", "witness", "--folder", str(folder)]
    return [*start, "--listen", "127.0.0.1:0", "--log", str(LOG.verifier), *more]


@contextmanager
def witness(folder: Path) -> Iterator[tuple[str, Verifier]]:
    """Its URL and its key."""
    process = subprocess.Popen([sys.executable, "-m", "modelward", *words(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline().split() for _ in range(2)]
        assert [line[0] for line in lines] == ["witness", "key"]
        yield lines[0][1], Verifier.parse(lines[1][1])
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def submit(url: str, checkpoint: Checkpoint, old: int) -> tuple[int, str]:
    body = bytes(Request(old, (), stamped(checkpoint, LOG, 1)))
    try:
        with urllib.request.urlopen(f"{url}add-checkpoint", data=body, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_it_cosigns_and_remembers_over_a_restart_with_the_same_key(tmp_path: Path) -> None:
    checkpoint = Checkpoint(LOG.name, 1, sha256(b"a").digest())
    with witness(tmp_path) as (url, key):
        assert key.kind == COSIGNATURE
        status, line = submit(url, checkpoint, 0)
        assert status == 200
        assert Note.parse(f"{checkpoint}\n{line}".encode()).verify(key) > 0
    with witness(tmp_path) as (url, again):
        assert again == key
        assert submit(url, Checkpoint(LOG.name, 1, sha256(b"b").digest()), 1)[0] == 422
        assert submit(url, checkpoint, 0) == (409, "1\n")
        with urllib.request.urlopen(f"{url}{sha256(LOG.name.encode()).hexdigest()}/checkpoint", timeout=10) as latest:
            assert Note.parse(latest.read()).verify(key) > 0
        second = modelward(*words(tmp_path))
        assert second.returncode == 1
        assert "another witness uses this folder" in second.stderr


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--listen", "0.0.0.0:0"), "reached by other machines, without TLS"),
        (("--log", "nothing"), "this is no public key of a log"),
        (("--tls-key", "key.pem"), "go together"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, more: tuple[str, ...], told: str) -> None:
    found = modelward(*words(tmp_path, *more))
    assert found.returncode == 1
    assert told in found.stderr
