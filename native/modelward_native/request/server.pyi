import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelward_native.access.access import Access
from modelward_native.backend.batch import Scheduler
from modelward_native.backend.pool import Pool
from modelward_native.detect.watch import Watcher
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.request.route import Directory
from modelward_native.score.events import Events
from modelward_native.timer.deadline import Wheel
from modelward_native.wire.inflater import Inflater
from modelward_native.wire.listener import Listener

class Server:
    def __init__(
        self,
        wheel: Wheel,
        limiter: Limiter,
        directory: Directory,
        region: Region | None = None,
        identities: int = 1048576,
    ) -> None: ...
    @property
    def listener(self) -> Listener: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def inflater(self) -> Inflater: ...
    @property
    def scheduler(self) -> Scheduler: ...
    @property
    def access(self) -> Access | None: ...
    def guard(self, access: Access) -> None: ...
    @property
    def passthrough(self) -> Pool | None: ...
    def serve(self, directory: Directory, passthrough: Pool | None) -> None: ...
    @property
    def watchers(self) -> list[Watcher]: ...
    def take_unlisted(self) -> bool: ...
    def learn(self, learner: Callable[[bytes, int], bool] | None) -> None: ...
    def set_priorities(self, highest: int, lowest: int) -> None: ...
    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        dispatch: Callable[..., Any] | None,
        methods: Mapping[bytes, int],
        streaming: Iterable[bytes] = (),
        client_streaming: Iterable[bytes] = (),
    ) -> None: ...
    def set_probes(self, answers: dict[bytes, dict[bytes, bytes]]) -> None: ...
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
    def mirroring(self) -> int:
        """Requests that shadows have and have not answered."""

    def log_access(self, share: float) -> None:
        """From now on this share of requests is kept for `take_access`, as far as there is room."""

    def observe(self, ring: int) -> None: ...
    def take_access(self, most: int) -> list[tuple[Any, ...]]:
        """Requests that have ended since the last call, at most so many; the rest waits. Each as
        modelward_native.telemetry.access_log.AccessEntry has it."""

    @property
    def access_dropped(self) -> int:
        """Requests that were to be kept when there was no room."""

    def take_samples(self) -> list[tuple[str, str, float, bytes, bytes, bytes]]:
        """Pairs that disagreed since the last call, a few: (model, shadow, disagreement, ModelInferRequest, the
        version's ModelInferResponse, the shadow's)."""

    def totals(self) -> dict[str, Any]: ...
