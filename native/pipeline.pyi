import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from native.batch import Scheduler
from native.deadline import Wheel
from native.events import Events
from native.h2 import Listener
from native.limit import Limiter
from native.pool import Pool
from native.region import Region
from native.route import Directory
from native.served import Served

class Server:
    passthrough: Pool | None
    def __init__(
        self, wheel: Wheel, limiter: Limiter, models: list[list[Served]], region: Region | None = None
    ) -> None: ...
    @property
    def listener(self) -> Listener: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def scheduler(self) -> Scheduler: ...
    def start(
        self, loop: asyncio.AbstractEventLoop, dispatch: Callable[..., Any] | None, methods: Iterable[bytes]
    ) -> None: ...
    def stop(self) -> None: ...
    def drain(self) -> None: ...
    @property
    def busy(self) -> bool: ...
    @property
    def events(self) -> Events: ...
    def totals(self) -> dict[str, Any]: ...
