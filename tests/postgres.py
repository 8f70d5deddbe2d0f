"""A PostgreSQL of a test's own, which it may stop, freeze, kill and start again."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import wait_until

HOW = "apt-get install postgresql"
USERS = ("postgres", "nobody")  # it refuses to run as root


class Server:
    """On a Unix socket alone, with everything that makes a commit durable."""

    def __init__(self, postgres: str, folder: Path, prefix: list[str]) -> None:
        self._command = [*prefix, postgres, "-D", str(folder / "data"), "-k", str(folder), "-c", "listen_addresses="]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = "owner") -> str:
        return f"postgresql://{user}@/{database}?host={self._folder}"

    def start(self, *settings: str) -> None:
        """Returns when it answers. settings: such as fsync=off."""
        given = [part for each in settings for part in ("-c", each)]
        self._process = subprocess.Popen(
            [*self._command, *given],
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "log").open("ab"),
            cwd=self._folder,
            env=plain(),
        )
        wait_until(self._answers, "postgres to answer")

    def _answers(self) -> bool:
        import psycopg  # noqa: PLC0415 - an extra

        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with contextlib.suppress(psycopg.Error):
            self.execute("SELECT 1")
            return True
        return False

    def execute(self, statement: str, *values: Any, database: str = "postgres") -> list[Any]:
        import psycopg  # noqa: PLC0415

        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """All its processes at once, as a loss of power does."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
            for left in (self._folder / "data" / "postmaster.pid", *self._folder.glob(".s.PGSQL.*")):
                left.unlink(missing_ok=True)

    def _signal(self, number: int) -> None:
        """To it and its children, which have sessions of their own."""
        assert self._process is not None
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                if parent == self._process.pid:
                    os.kill(int(stat.parent.name), number)
        self._process.send_signal(number)


def plain() -> dict[str, str]:
    """Without what sanitizers preload."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | {"LC_ALL": "C"}


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Skips the test where it is not installed."""
    pytest.importorskip("psycopg", reason="the package psycopg is not installed")
    programs = [shutil.which(name) or _packaged(name) for name in ("initdb", "postgres")]
    if None in programs:
        pytest.skip(f"PostgreSQL is not installed: {HOW}")
    initdb, postgres = (str(each) for each in programs)
    prefix = _as_user()
    with _folder() as folder:
        _run(*prefix, "cp", "-a", str(_made_once(initdb) / "data"), str(folder))
        server = Server(postgres, folder, prefix)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@functools.cache
def _made_once(initdb: str) -> Path:
    """What each server begins with: initdb takes longer than all else that a test does with one."""
    folder = _KEPT.enter_context(_folder())
    options = ["-D", str(folder / "data"), "-U", "owner", "-A", "trust", "-E", "UTF8", "--no-sync"]
    _run(*_as_user(), initdb, *options, cwd=folder)
    return folder


_KEPT = contextlib.ExitStack()
atexit.register(_KEPT.close)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Not below pytest's folders, which another user may not enter."""
    with tempfile.TemporaryDirectory(prefix="modelward-pg-") as name:
        if os.getuid() == 0:
            user = _user()
            os.chown(name, user.pw_uid, user.pw_gid)
        yield Path(name)


def _as_user() -> list[str]:
    if os.getuid() != 0:
        return []
    user = _user()
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _run(*command: str, cwd: Path | None = None) -> None:
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=plain())
    assert made.returncode == 0, made.stderr


def _packaged(name: str) -> str | None:
    """Where Debian puts it."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else None


def _user() -> pwd.struct_passwd:
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("there is no user that PostgreSQL could run as")
