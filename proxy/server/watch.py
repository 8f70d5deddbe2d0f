"""Files that have changed: what is served follows them, without anybody asking for it.

Folders are watched, not files: an editor, a rename and a ConfigMap's symbolic links all put another file in the place
of the one that was there, which a watch on a file would go on looking at.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from watchfiles import awatch

from proxy.models.files import LARGEST_SETTINGS
from proxy.regular import read_regular

SETTLE_MS = 500  # a change is acted upon when nothing more has changed for so long
LATEST_MS = 5_000  # or when so much time has passed since the first
LOOK_MS = 1_000  # between two looks whether the folder is still the same

Changed = Callable[[], Awaitable[None]]


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
    async for _ in _changes(file.parent, recursive=False):
        now = _digest(file)
        if now not in (seen, ""):  # a file that is not there is about to be
            seen = now
            await changed()


async def _follow_tree(folder: Path, changed: Changed) -> None:
    async for _ in _changes(folder, recursive=True):
        await changed()


async def _changes(folder: Path, *, recursive: bool) -> AsyncIterator[None]:
    """One item for each time that something has changed and settled, or another folder stands in this one's place."""
    while True:
        here = _identity(folder)
        if here is not None:
            looks = awatch(
                folder,
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
