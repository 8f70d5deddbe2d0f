"""Files that have changed: what is served follows them, without a request to reload.

Every half second the state of the files is read and compared. No link is followed out of the repository, a folder that
cannot be read hides no other, and changes on network file systems and behind a ConfigMap's links are seen as well,
which the kernel's notifications miss.
"""

import asyncio
import hashlib
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path

from modelward.bounded_file import read_regular
from modelward.fingerprint import fingerprint
from modelward.no_process import refused_thread
from modelward.repository.files import LARGEST_SETTINGS

LOOK_SECONDS = 0.5  # a change is acted upon when one more look finds nothing else changed
LATEST_SECONDS = 5.0  # or when so much time has passed since the first
IDLE_SHARE = 50  # a pause lasts this many times as long as the look before it: 2 % of a core
LONGEST_PAUSE = 30.0  # seconds: one look may have waited long for a core or a disk
DEEPEST = 3  # folders below the repository: a model, a version, and what lies beside its model file
MOST_ENTRIES = 10_000  # of one model's folder; changes in what exceeds them are not seen
REPEAT_SECONDS = 60.0  # between two lines about looks that fail
GONE_SECONDS = 5.0  # without a file, or with something in its place that is none, until that is told

RETRIES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds until a change that could not be read is tried again: its reader may have been killed for want of memory."""

Changed = Callable[[], Awaitable[bool]]
"""Whether what has changed could be read."""
State = object  # compared with ==; None where what is followed cannot be read
Entries = dict[str, tuple[int, ...]]

log = logging.getLogger("modelward.watch")


async def watch(
    config: Path | None,
    repository: Callable[[], Path | None],
    changed: Changed,
    failed: Callable[[], None],
    named: Callable[[], Iterable[Path]] = tuple,
) -> None:
    """Calls `changed` after each change of the configuration file's content, of what the repository may serve, and of
    files that the configuration names and only a reload reads.

    failed: called for each look and each reload that raised. repository, named: the one of now, and those files; asked
    at each look, in a thread.
    """
    looks: dict[str, Callable[[], State]] = {
        "repository": partial(_served, repository),
        "files that the configuration names": partial(_named, named),
    }
    if config is not None:
        looks["configuration"] = partial(_content, config.absolute())
    await asyncio.gather(*(_follow(what, look, look(), changed, failed) for what, look in looks.items()))


async def _follow(
    what: str, look: Callable[[], State], known: State, changed: Changed, failed: Callable[[], None]
) -> None:
    """Never ends by itself: what fails once is tried again. known: what is served already."""
    loop = asyncio.get_running_loop()
    latest = known
    since: float | None = None  # when the first change after `known` was seen
    quiet_until, gone, retry = 0.0, Gone(what, failed), Retry(what)
    pause = LOOK_SECONDS
    while True:
        await asyncio.sleep(pause)
        began = loop.time()
        try:
            found = await asyncio.to_thread(look)
            pause = min(max(LOOK_SECONDS, IDLE_SHARE * (loop.time() - began)), LONGEST_PAUSE)
            gone.look(loop.time(), is_there=found is not None)
            if found is None or found == known:
                since = None
                if retry.is_due(began):
                    retry.take(await changed(), loop.time())
            else:
                since = began if since is None else since
                if found == latest or began - since >= LATEST_SECONDS:
                    known, since, retry = found, None, Retry(what)
                    retry.take(await changed(), loop.time())
            latest = found
        except Exception as error:
            failed()
            if began >= quiet_until:
                quiet_until = began + REPEAT_SECONDS
                refused = refused_thread(error)
                text = "a change of the %s was not followed: %s; SIGHUP reloads"
                log.error(text, what, refused or error, exc_info=not refused)


class Retry:
    """Of one change that could not be read, so many times as RETRIES says."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pauses = iter(RETRIES)
        self._due = inf
        self._is_told = False

    def is_due(self, now: float) -> bool:
        """Once for each pause. now: seconds of any clock."""
        if now < self._due:
            return False
        self._due = inf
        return True

    def take(self, was_read: bool, now: float) -> None:
        """What came of it."""
        if was_read:
            return
        if (pause := next(self._pauses, None)) is None:
            log.error("a change of the %s was not followed: it could not be read; SIGHUP reloads", self._what)
            return
        self._due = now + pause
        if not self._is_told:
            self._is_told = True
            text = "a change of the %s could not be read: it is tried again, up to %d times in %g s"
            log.warning(text, self._what, len(RETRIES), sum(RETRIES))


class Gone:
    """Tells once of what cannot be read for a while, and goes on."""

    def __init__(self, what: str, failed: Callable[[], None]) -> None:
        self._what = what
        self._failed = failed
        self._since: float | None = None
        self._is_told = False

    def look(self, now: float, *, is_there: bool) -> None:
        """now: seconds of any clock."""
        if is_there:
            self._since, self._is_told = None, False
            return
        self._since = now if self._since is None else self._since
        if not self._is_told and now - self._since >= GONE_SECONDS:
            self._is_told = True
            self._failed()
            log.warning("the %s cannot be read any more: what was read last is followed until it is back", self._what)


def _content(file: Path) -> State:
    try:
        return hashlib.sha256(read_regular(file, LARGEST_SETTINGS)).digest()
    except OSError:
        return None  # a file that is not there is about to be


def _served(repository: Callable[[], Path | None]) -> State:
    path = repository()
    if path is None:
        return ()  # nothing is to be there
    found = _file(path.absolute()) if path.is_file() else _tree(path.absolute())
    return None if found is None else (path, found)


def _named(named: Callable[[], Iterable[Path]]) -> State:
    files = (*named(),)
    return files, fingerprint(files)


def _file(file: Path) -> State:
    try:
        return _state(os.stat(file))
    except OSError:
        return None


def _tree(repository: Path) -> State:
    try:
        root = os.path.realpath(repository, strict=True)
        models = os.listdir(root)
    except OSError:
        return None
    found: Entries = {}
    for name in models:
        path = os.path.join(root, name)
        if os.path.isdir(path) or name.lower().endswith(".onnx"):
            entries: Entries = {}
            _add(entries, path, root, 1)
            found.update(entries)
    return found


def _add(found: Entries, path: str, root: str, depth: int) -> None:
    """The states of `path` and of what lies in it. What vanishes meanwhile, or cannot be read, is left out."""
    name = os.path.basename(path)
    if name.startswith(".") or name.endswith("~") or len(found) >= MOST_ENTRIES:
        return
    with suppress(OSError):
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode) and os.path.realpath(path).startswith(os.path.join(root, "")):
            status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            if not _is_own_output(status):
                found[path] = _state(status)
            return
        # not its times: they change with every hidden file in it
        found[path] = status.st_dev, status.st_ino, status.st_mode
        if depth <= DEEPEST:
            with os.scandir(path) as entries:
                for entry in entries:
                    _add(found, entry.path, root, depth + 1)


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_own_output(status: os.stat_result) -> bool:
    """The log, which changes with every line, also with one about a reload."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(status, os.fstat(descriptor)):
                return True
    return False
