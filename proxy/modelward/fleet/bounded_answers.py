"""Answers of a Valkey or Redis, read up to a size: its client would take as many bytes as a store sends."""

from __future__ import annotations

from typing import Any

MOST_ANSWER = 64 << 20
"""Bytes of one answer, a good deal more than scripts of a fleet tell."""
OVERHEAD = 64  # bytes that each part of an answer takes here


class TooLong(ConnectionError):
    def __init__(self) -> None:
        super().__init__(f"its answer has more than {MOST_ANSWER >> 20} MiB")


class Reader:
    """An asyncio.StreamReader that gives no more than `left` bytes. Raises TooLong."""

    def __init__(self, reader: Any) -> None:
        self._all = reader
        self.left = MOST_ANSWER

    def __getattr__(self, name: str) -> Any:
        return getattr(self._all, name)

    async def read(self, size: int = -1) -> bytes:
        self._check()
        return self._counted(await self._all.read(size))

    async def readline(self) -> bytes:
        self._check()
        return self._counted(await self._all.readline())

    async def readexactly(self, size: int) -> bytes:
        if size > self.left:
            self.left = -1
        self._check()
        return self._counted(await self._all.readexactly(size))

    def _counted(self, data: bytes) -> bytes:
        self.left -= len(data) + OVERHEAD
        self._check()
        return data

    def renew(self) -> None:
        """Another answer is asked for. What was too long once stays so: the rest of it is none."""
        self.left = MOST_ANSWER if self.left >= 0 else -1

    def _check(self) -> None:
        if self.left < 0:
            raise TooLong


def bound_answers(pool: Any) -> None:
    """pool: of a redis.asyncio client, before it has connected."""
    kind: Any = pool.connection_class

    class Bounded(kind):  # type: ignore[misc]
        _reader: Any

        async def on_connect(self) -> None:
            self._bound()
            await super().on_connect()

        async def on_connect_check_health(self, *options: Any, **more: Any) -> None:
            """Which later releases of the client call in its place."""
            self._bound()
            await super().on_connect_check_health(*options, **more)

        def _bound(self) -> None:
            if not isinstance(self._reader, Reader):
                self._reader = Reader(self._reader)

        async def send_packed_command(self, *command: Any, **options: Any) -> None:
            if isinstance(self._reader, Reader):
                self._reader.renew()
            await super().send_packed_command(*command, **options)

    pool.connection_class = Bounded
