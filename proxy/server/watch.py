"""Files that have changed: what is served follows them, without anybody asking for it.

Folders are watched, not files: an editor, a rename and a ConfigMap's symbolic links all put another file in the place
of the one that was there, which a watch on a file would go on looking at.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from proxy.models.files import LARGEST_SETTINGS
from proxy.regular import read_regular

SETTLE_MS = 500  # a change is acted upon when nothing more has changed for so long
LATEST_MS = 5_000  # or when so much time has passed since the first
LOOK_MS = 1_000  # between two looks whether the folder is still the same

Changed = Callable[[], Awaitable[None]]
Counts = Callable[[Path], bool]

# a line for each change would be a change itself, where the log is a file that is watched
logging.getLogger("watchfiles").setLevel(logging.WARNING)


async def watch(config: Path | None, repository: Path | None, changed: Changed) -> None:
    """Calls `changed` after each change of the configuration file's content, and of anything below the repository."""
    async with asyncio.TaskGroup() as group:
        if config is not None:
            group.create_task(_follow_file(config.absolute(), changed))
        if repository is not None:
            file = repository.is_file()
            group.create_task(
                _follow_file(repository.absolute(), changed) if file else _follow_tree(repository, changed)
            )


async def _follow_file(file: Path, changed: Changed) -> None:
    seen = _digest(file)
    # a ConfigMap is changed by turning the link ..data
    async for _ in _changes(file.parent, lambda path: path.name == file.name or path.name.startswith("..")):
        now = _digest(file)
        if now not in (seen, ""):  # a file that is not there is about to be
            seen = now
            await changed()


async def _follow_tree(folder: Path, changed: Changed) -> None:
    async for _ in _changes(folder, lambda path: _may_be_served(path, folder), recursive=True):
        await changed()


def _may_be_served(path: Path, folder: Path) -> bool:
    """No hidden file, none beside the models' folders, and nothing that this server itself writes, such as its log."""
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else path.parts[-1:]
    if any(part.startswith(".") and not part.startswith("..") for part in parts):
        return False
    beside = len(parts) == 1 and path.suffix != ".onnx" and path.is_file()
    return not beside and not _is_own_output(path)


def _is_own_output(path: Path) -> bool:
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return True
    return False


async def _changes(folder: Path, counts: Counts, *, recursive: bool = False) -> AsyncIterator[None]:
    """One item for each time that something that counts has changed and settled, or another folder stands in this one's
    place."""
    usual = DefaultFilter()

    def watched(change: Change, path: str) -> bool:
        return usual(change, path) and counts(Path(path))

    while True:
        here = _identity(folder)
        if here is not None:
            looks = awatch(
                folder,
                watch_filter=watched,
                recursive=recursive,
                step=SETTLE_MS,
                debounce=LATEST_MS,
                rust_timeout=LOOK_MS,
                yield_on_timeout=True,
            )
            async for changes in looks:
                moved = _identity(folder) != here
                if changes or moved:
                    yield
                if moved:
                    break
        await asyncio.sleep(LOOK_MS / 1e3)


def _identity(folder: Path) -> tuple[int, int] | None:
    """Of the folder that the path leads to; None where there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _digest(file: Path) -> str:
    """Of its content; "" where there is none."""
    try:
        return hashlib.sha256(read_regular(file, LARGEST_SETTINGS)).hexdigest()
    except OSError:
        return ""
