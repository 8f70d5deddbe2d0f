import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from native.access import Access
from native.batch import Scheduler
from native.deadline import Wheel
from native.events import Events
from native.h2 import Listener
from native.limit import Limiter
from native.pool import Pool
from native.region import Region
from native.route import Directory

class Server:
    def __init__(self, wheel: Wheel, limiter: Limiter, directory: Directory, region: Region | None = None) -> None: ...
    @property
    def listener(self) -> Listener: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def scheduler(self) -> Scheduler: ...
    @property
    def access(self) -> Access | None: ...
    def guard(self, access: Access) -> None: ...
    def passthrough(self) -> Pool | None: ...
    def serve(self, directory: Directory, passthrough: Pool | None) -> None: ...
    def take_unlisted(self) -> bool: ...
    def start(
        self, loop: asyncio.AbstractEventLoop, dispatch: Callable[..., Any] | None, methods: Mapping[bytes, int]
    ) -> None: ...
    def stop(self) -> None: ...
    def warn(self) -> None: ...
    def drain(self) -> None: ...
    @property
    def busy(self) -> bool: ...
    @property
    def events(self) -> Events: ...
    def pace(self, busy: bool) -> None:
        """Told several times a second whether this process lacked time: then fewer requests are mirrored, or none."""

    @property
    def mirrored_share(self) -> float:
        """Of the requests that would be mirrored, those that there is time for: 0 to 1."""

    @property
    def mirroring(self) -> int:
        """Requests that shadows have and have not answered."""

    def take_samples(self) -> list[tuple[str, str, float, bytes, bytes, bytes]]:
        """Pairs that disagreed since the last call, a few: (model, shadow, disagreement, ModelInferRequest, the
        version's ModelInferResponse, the shadow's)."""

    def totals(self) -> dict[str, Any]: ...
