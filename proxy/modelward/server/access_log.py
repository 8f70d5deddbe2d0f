"""The access log of one process: taken from the data plane a few times a second, written in a thread.

It is the first that gives way. While a round is being written nothing more is taken, and what the ring has no room for
is dropped and counted. No request ever waits for it or fails of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from modelward.config.access_log import AccessLogSettings
from modelward.telemetry.access_records import AccessRecord, lines, otlp
from modelward.telemetry.build import build
from modelward.telemetry.snapshot import AccessLogSnapshot

log = logging.getLogger("modelward.access_log")

ROUND_SECONDS = 0.1
MOST = 512  # of a round: about 5 ms of the interpreter's time
QUIET_SECONDS = 60.0  # between two lines in the log
SEND_SECONDS = 5.0
FILE_MODE = 0o640

Taken = Sequence[Any]


class Sink(Protocol):
    """Where records go. write: raises OSError."""

    def write(self, records: Sequence[AccessRecord]) -> None: ...


class File:
    """Lines appended to a file, or to stdout. Several processes may write to it: each block is one write."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._open = -1
        self._known: tuple[int, int] | None = None  # device and inode of what is open

    def write(self, records: Sequence[AccessRecord]) -> None:
        left = memoryview(lines(records))
        handle = sys.__stdout__.fileno() if self._path is None and sys.__stdout__ is not None else self._handle()
        while left:
            left = left[os.write(handle, left) :]

    def _handle(self) -> int:
        """Another one where the file was moved away."""
        assert self._path is not None
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            found = None
        if self._open < 0 or found is None or (found.st_dev, found.st_ino) != self._known:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, FILE_MODE)
            if self._open >= 0:
                os.close(self._open)
            status = os.fstat(handle)
            self._open, self._known = handle, (status.st_dev, status.st_ino)
        return self._open


class Collector:
    """An OpenTelemetry collector. worker: number of this process."""

    def __init__(self, url: str, worker: int) -> None:
        self._url = url
        self._worker = worker
        self._version = build()["version"]

    def write(self, records: Sequence[AccessRecord]) -> None:
        import http.client  # noqa: PLC0415 - only where there is a collector
        import urllib.request  # noqa: PLC0415

        body = otlp(records, self._version, self._worker)
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=SEND_SECONDS) as response:
                response.read()
        except http.client.HTTPException as error:
            raise OSError(f"the collector's answer cannot be read: {type(error).__name__}") from error


def sink_of(settings: AccessLogSettings, worker: int) -> Sink:
    return Collector(settings.otlp, worker) if settings.otlp is not None else File(settings.file)


class AccessLogWriter:
    """take: gives at most so many requests that have ended since it was last called. dropped: how many there was no
    room for. where: in words."""

    def __init__(
        self, take: Callable[[int], Sequence[Taken]], dropped: Callable[[], int], sink: Sink, where: str
    ) -> None:
        self._take = take
        self._dropped = dropped
        self._sink = sink
        self._where = where
        self._clock = time.time_ns() - time.monotonic_ns()
        self._quiet_until = 0.0
        self._written = self._failed = 0
        self._told = 0  # of those that are lost, told in the log

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            await self.keep()

    async def keep(self) -> None:
        """One round."""
        taken = self._take(MOST)
        why = await asyncio.to_thread(self._write, taken) if taken else ""
        self._failed += len(taken) if why else 0
        self._written += 0 if why else len(taken)
        self._tell(why or "there is no room for them")

    def stats(self) -> AccessLogSnapshot:
        return AccessLogSnapshot(self._written, self._dropped(), self._failed)

    def _tell(self, why: str) -> None:
        lost, now = self._failed + self._dropped(), time.monotonic()
        if lost > self._told and now >= self._quiet_until:
            log.error("%d requests are not in the access log (%s): %s", lost - self._told, self._where, why)
            self._told, self._quiet_until = lost, now + QUIET_SECONDS

    def _write(self, taken: Sequence[Taken]) -> str:
        """Why they could not be written, or ""."""
        try:
            self._sink.write([AccessRecord.of(each, self._clock) for each in taken])
        except OSError as error:
            return error.strerror or str(error)
        return ""
