"""Limits that several servers hold together, through a Redis or Valkey.

Requests are decided by this server's own cells and never wait. Once per round what was spent of cells that were
used goes to the store, in one call of a script, and comes back as what all servers owe: limits/shared_limits.h
has the algorithm.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import struct
import time
from bisect import bisect_left
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelward.config.rate_limit import Shared
from modelward.config.units import SECOND
from modelward.problem import Problem, ProblemsFound
from modelward.telemetry.snapshot import Histogram, SharedSnapshot
from modelward_native.limits.limit import Limiter
from modelward_native.limits.shared_limits import SharedAccounts
from modelward_native.region.region import Region

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger("modelward.limits")

# Cells of one round, the busiest first: 1.6 ms of the store's one thread (measured), of which ten servers take a sixth.
MOST_CELLS = 512
# Of a connection, and of an answer: a store that is slower is gone.
TIMEOUT_SECONDS = 0.25
# Between attempts to reach a store that is gone; and the longest that a store that is there is not heard of.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 5.0
SILENCE_NS = SECOND
# Rounds further apart were held up: what they report counts as of now.
LONGEST_ROUND_NS = 2 * SECOND
# After this many attempts in a row without an answer the store is gone: one attempt may fail because we were held up.
ATTEMPTS_UNTIL_GONE = 2
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
# More than the furthest that a TAT may lie ahead (limits/gcra.h), and far from where an integer of 64 bits ends.
LONGEST_NS = 1 << 61
WHAT = "identity, model and total limits"

# One cell per limit: its theoretical arrival time, what is asked of it in parts of the limit, and when that was told;
# times in microseconds, since a double holds those of a clock exactly. A report is of the time since the server's
# last one, so that is where a cell begins that owes nothing. A clock that went back takes its cells along.
# Both ways numbers are doubles in one string: read one by one they would cost more than all the rest.
# ARGV: that time; of each key what was spent, how demand changed, and the most that may be owed.
# Returns how far each TAT lies ahead, and each demand.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local since = now - struct.unpack('<d', ARGV[1])
local told = {}
for i, key in ipairs(KEYS) do
  local spent, changed, most = struct.unpack('<ddd', ARGV[2], 24 * i - 23)
  local tat, demand = since, 0
  local cell = redis.call('GET', key)
  if cell and #cell == 24 then
    local was, wished, at = struct.unpack('<ddd', cell)
    tat = math.max(tat, was - math.max(at - now, 0))
    demand = wished * math.exp(math.min(at - now, 0) / 1000000)
  end
  tat = math.min(tat + spent, now + most)
  demand = math.max(demand + changed, 0)
  local stays = 10000 + math.ceil(math.max(tat - now, 0) / 1000)
  redis.call('SET', key, struct.pack('<ddd', tat, demand, now), 'PX', string.format('%.0f', stays))
  told[i] = struct.pack('<dd', tat - now, demand)
end
return table.concat(told)
"""
US = 1000  # ns


class StoreError(Exception):
    """The store cannot be had, or does not answer as it should; the message says why."""


class Store:
    """One connection to it, made when it is needed. Every call ends within TIMEOUT_SECONDS."""

    def __init__(self, settings: Shared) -> None:
        self._settings = settings
        self._client: Redis | None = None
        self._script: Any = None

    async def exchange(self, elapsed: int, reports: Mapping[str, tuple[int, float, int]]) -> list[tuple[int, float]]:
        """Of each key (spent, change of demand, most ahead) over `elapsed`: (how far ahead its TAT is, demand).

        elapsed: the time they are of. All in ns. Raises StoreError, and the next call connects again.
        """
        from redis.exceptions import RedisError  # noqa: PLC0415 - an extra

        numbers = [each for spent, changed, most in reports.values() for each in (spent / US, changed, most / US)]
        arguments = struct.pack("<d", elapsed / US), struct.pack(f"<{len(numbers)}d", *numbers)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._client is None:
                    self._client = _client(self._settings)
                    self._script = self._client.register_script(SCRIPT)
                told = await self._script(keys=list(reports), args=arguments)
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            await self.close()
            why = "" if isinstance(error, TimeoutError) else str(error)
            raise StoreError(why or f"no answer within {TIMEOUT_SECONDS * 1000:.0f} ms") from error
        if not isinstance(told, bytes) or len(told) != 16 * len(reports):
            await self.close()
            raise StoreError("its answer is none of this program's script")
        return [(_bounded(ahead), demand) for ahead, demand in struct.iter_unpack("<dd", told)]

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.connection_pool.disconnect()


def _client(settings: Shared) -> Redis:
    from redis.asyncio import Redis  # noqa: PLC0415
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0)}  # the next round is soon enough
    try:
        password = settings.password
    except (OSError, ValueError) as error:
        raise StoreError(f"limits.shared.password_file {settings.password_file}: {_words(error)}") from error
    if password is not None:
        options["password"] = password
    return Redis.from_url(
        settings.url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, **options
    )


def shared_hash_key(settings: Shared) -> bytes:
    """Key of the hashes by which all servers know an identity."""
    return hashlib.blake2b(settings.prefix.encode(), digest_size=16, person=b"modelward limits").digest()


def words(settings: Shared) -> str:
    return f"{WHAT} are held together with other servers through {settings.where}"


def missing() -> Problem | None:
    """Where the package that speaks to the store is not installed."""
    try:
        import redis.asyncio  # noqa: F401, PLC0415
    except ImportError:
        how = "pip install 'modelward[redis]', or build the image with EXTRAS=redis; or leave limits.shared out"
        return Problem("the package redis is not installed", "limits.shared", "it speaks to the store", how)
    return None


def unreadable(settings: Shared) -> Problem | None:
    """Where the file with the password cannot be read."""
    try:
        settings.password  # noqa: B018 - it reads the file
    except (OSError, ValueError) as error:
        what, file = "limits.shared.password_file cannot be read", str(settings.password_file)
        how = "Check the path and its mode: without it limits hold in each server by itself"
        return Problem(what, file, _words(error), how)
    return None


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


async def unreachable(settings: Shared) -> Problem | None:
    """Why the store cannot be had at the moment."""
    store = Store(settings)
    try:
        await store.exchange(0, {})
    except StoreError as error:
        how = "Start it, or mend limits.shared.url or its password_file: serve would begin without it and try on"
        return Problem(
            f"{settings.where} cannot be reached: {error}", "limits.shared", "limits hold in each server by itself", how
        )
    finally:
        await store.close()
    return None


class SharedLimits:
    """The task that keeps a server's part. region: its workers'.

    While the store is gone each server holds its limits alone: what was booked meanwhile is dropped when it returns.
    """

    def __init__(self, settings: Shared, region: Region) -> None:
        limiter = Limiter(region=region)
        limiter.share(shared_hash_key(settings))
        self._accounts = SharedAccounts(limiter)
        self._settings = settings
        self._store = Store(settings)
        self._task: asyncio.Task[None] | None = None
        self._up: bool | None = None  # before the first attempt
        self._unanswered = 0  # attempts in a row
        self._last = self._heard = 0  # ns, monotonic: the last round; the last answer
        self._results = {"ok": 0, "failed": 0}
        self._counts = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._cells = 0

    @property
    def words(self) -> str:
        """For READY."""
        state = "" if self._up else "; it cannot be reached, so that each server holds them alone"
        return words(self._settings) + state

    async def start(self) -> None:
        """The first attempt is over when this returns. Raises ProblemsFound."""
        if (problem := missing()) is not None:
            raise ProblemsFound([problem])
        await self._attempt()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._store.close()

    def stats(self) -> SharedSnapshot:
        cumulative, total = [], 0
        for count in self._counts:
            total += count
            cumulative.append(total)
        seconds = Histogram(BOUNDS, tuple(cumulative), self._seconds)
        return SharedSnapshot(int(bool(self._up)), dict(self._results), seconds, self._cells, self._accounts.unbooked)

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            if self._up:
                pause = FIRST_PAUSE_SECONDS
                took = (time.monotonic_ns() - self._last) / SECOND
                await asyncio.sleep(max(self._settings.interval / SECOND - took, 0))
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            await self._attempt()

    async def _attempt(self) -> None:
        """One round, or the attempt to find the store again."""
        try:
            await self._round()
        except StoreError as error:
            self._results["failed"] += 1
            self._unanswered += 1
            if self._up and self._unanswered < ATTEMPTS_UNTIL_GONE:  # what it was told is lost: one round
                return
            if self._up is not False:
                log.error("%s cannot be reached: %s; %s hold in each server alone", self._settings.where, error, WHAT)
            self._up = False
            self._accounts.forget()
        else:
            if self._up is False:
                log.info("%s is back: %s are held together again", self._settings.where, WHAT)
            self._up = True
            self._unanswered = 0

    async def _round(self) -> None:
        now = time.monotonic_ns()
        if not self._up:  # what was spent meanwhile counts for no server
            self._accounts.forget()
            self._last = now
        elapsed, self._last = min(now - self._last, LONGEST_ROUND_NS), now
        cells = self._accounts.take(MOST_CELLS, elapsed, now)
        self._cells = len(cells)
        if not cells and self._up and now - self._heard < SILENCE_NS:
            return
        reports = {self._key(level, name): (spent, changed, most) for _, level, name, spent, changed, most in cells}
        asked = time.monotonic_ns()
        told = await self._store.exchange(elapsed, reports)
        self._heard = time.monotonic_ns()
        self._note((self._heard - asked) / SECOND)
        at = (asked + self._heard) // 2
        for (number, *_), (ahead, demand) in zip(cells, told, strict=True):
            self._accounts.follow(number, ahead, demand, at, self._heard)

    def _key(self, level: str, name: bytes) -> str:
        """A name of any length and content as a key: its level and a digest; an identity's is a hash already."""
        digest = name if level == "identity" else hashlib.blake2b(name, digest_size=16).digest()
        return f"{{{self._settings.prefix}}}:{level}:{digest.hex()}"

    def _note(self, seconds: float) -> None:
        self._results["ok"] += 1
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds


def _bounded(us: float) -> int:
    """As ns, of what a stranger may have written into the store: no further off than any TAT may be."""
    return round(max(-LONGEST_NS, min(us * US, LONGEST_NS))) if math.isfinite(us) else 0
