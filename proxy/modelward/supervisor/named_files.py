"""Files that the configuration names, looked at all the time: that one has changed is on record, since no approval
covers it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from modelward.audit.record import automatic
from modelward.audit.recorder import Recorder
from modelward.bounded_file import read_regular
from modelward.config.named_files import NamedFile, named_files
from modelward.config.schema import Config
from modelward.fingerprint import Fingerprint, fingerprint
from modelward.no_process import refused_thread

LOOK_SECONDS = 2.0
LARGEST = 16 << 20  # bytes that are hashed
GONE = "it cannot be read"

log = logging.getLogger("modelward.audit")


class _Seen(Struct, frozen=True):
    path: Path
    identity: Fingerprint
    digest: str


class NamedFiles:
    """Use `watch`. What changes while no server runs is not noticed."""

    def __init__(self, config: Callable[[], Config], recorder: Callable[[], Recorder]) -> None:
        self._config = config
        self._recorder = recorder
        self._seen: Mapping[str, _Seen] = {}

    async def watch(self) -> None:
        """For ever."""
        while True:
            try:
                await self.look()
            except Exception as error:
                refused = refused_thread(error)
                text = "a look at the files that the configuration names failed: %s"
                log.error(text, refused or error, exc_info=not refused)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        files = [each for each in named_files(self._config()) if each.path is not None]
        before = self._seen
        self._seen = await asyncio.get_running_loop().run_in_executor(None, _look, files, before)
        for each in files:
            was, now = before.get(each.key), self._seen[each.key]
            if was is None or was.path != now.path or was.digest == now.digest:
                continue  # a key that names another file is a change of the configuration
            told = {} if each.secret else {"before": was.digest or None, "after": now.digest or None}
            reason = "" if now.digest else GONE
            self._recorder().note(automatic("file.changed", object=each.key, reason=reason, **told))


def _look(files: list[NamedFile], before: Mapping[str, _Seen]) -> dict[str, _Seen]:
    seen = {}
    for each in files:
        assert each.path is not None
        was, identity = before.get(each.key), fingerprint([each.path])
        same = was is not None and (was.path, was.identity) == (each.path, identity)
        seen[each.key] = was if same and was is not None else _Seen(each.path, identity, _digest(each.path))
    return seen


def _digest(path: Path) -> str:
    """Empty where it cannot be read."""
    try:
        return f"sha256:{hashlib.sha256(read_regular(path, LARGEST)).hexdigest()}"
    except (OSError, ValueError):
        return ""
