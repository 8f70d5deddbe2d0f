"""The supervisor's half of what looks at requests: the reader of all rings, and capture."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from modelward.config.schema import Config
from modelward.config.state_folder import state_folder
from modelward.telemetry.snapshot import CaptureSnapshot, ObservationSnapshot
from modelward_native.region.region import Region

if TYPE_CHECKING:
    from modelward.capture.writer import CaptureWriter
    from modelward.observe.observations import Observations

log = logging.getLogger("modelward.observe")

FOLDER = "capture"  # within the state folder
LOOK_SECONDS = 1.0


class Observing:
    """Begins once a model is captured, also by a reload, and then lasts. Use `watch` while workers run, and `stop` when
    they have ended."""

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config
        self._observations: Observations | None = None
        self._capture: CaptureWriter | None = None

    async def watch(self, region: Region) -> None:
        while True:
            self.follow(region)
            await asyncio.sleep(LOOK_SECONDS)

    def follow(self, region: Region) -> None:
        if self._capture is None and self._config().captured:
            # they bring numpy and pyarrow: only where something is captured
            from modelward.capture.writer import CaptureWriter  # noqa: PLC0415
            from modelward.observe.observations import Observations  # noqa: PLC0415

            self._capture = CaptureWriter(lambda: self._config().captured, self._root, region.sticky_key)
            self._observations = Observations(region)
            self._observations.subscribe("capture", self._capture.take)
            self._capture.start()
            self._observations.start()
            log.info("requests of %s are captured", ", ".join(self._config().captured))

    async def stop(self) -> None:
        """What is still in the rings is written."""
        loop = asyncio.get_running_loop()
        if self._observations is not None:
            await loop.run_in_executor(None, self._observations.stop)
        if self._capture is not None:
            await loop.run_in_executor(None, self._capture.stop)

    def stats(self) -> tuple[ObservationSnapshot | None, CaptureSnapshot | None]:
        seen = self._observations.stats() if self._observations is not None else None
        return seen, self._capture.stats() if self._capture is not None else None

    def folder(self, model: str) -> Path | None:
        """Absolute: who asks may be in another folder."""
        settings = self._config().captured.get(model)
        return (settings.folder or self._root).absolute() if settings is not None else None

    @property
    def _root(self) -> Path:
        return state_folder(self._config().state) / FOLDER

    @property
    def words(self) -> str:
        """For READY and status; empty where nothing is captured."""
        return ", ".join(
            f"{name} {settings.share:.4g} to {settings.folder or self._root}"
            for name, settings in self._config().captured.items()
        )
