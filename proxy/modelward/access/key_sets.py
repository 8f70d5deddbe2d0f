"""Where the keys of a token issuer come from: a file that is looked at, or a URL that is asked."""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from modelward.access.tokens import KeySet
from modelward.certificate import load_authorities, read
from modelward.config.access import Jwt
from modelward.config.units import SECOND
from modelward.fingerprint import Fingerprint, fingerprint
from modelward.problem import Problem, ProblemsFound
from modelward.telemetry.snapshot import KeySetSnapshot

log = logging.getLogger("modelward.access")

SECTION = "access.jwt"
LARGEST = 1 << 20
FETCH_SECONDS = 5.0
# between two questions: strangers decide how often a token names an unknown key
LEAST_SECONDS = 10.0
FAILURES = (TimeoutError, aiohttp.ClientError, OSError, ValueError, ProblemsFound)
HOW = 'It must be a JWKS: {"keys": [...]}'


def parse(data: bytes, settings: Jwt) -> KeySet:
    """Raises ValueError."""
    try:
        return KeySet(json.loads(data), settings.algorithms)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def load_file(settings: Jwt, section: str = SECTION) -> KeySet:
    """section: of the configuration. Raises ProblemsFound."""
    file = Path(settings.jwks)
    data = read(file, f"{section}.jwks")
    try:
        return parse(data, settings)
    except ValueError as error:
        raise ProblemsFound([Problem(f"{section}.jwks holds no key set", str(file), str(error), HOW)]) from error


def authorities(settings: Jwt, section: str = SECTION) -> ssl.SSLContext:
    """Whom the URL's server must be certified by. Raises ProblemsFound."""
    if settings.ca is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_authorities(context, f"{section}.ca", settings.ca)
    return context


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):  # whose text shows Python's objects
        return f"cannot connect to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ClientResponseError):  # whose text shows the URL, and what was answered
        return "its answer is no HTTP"
    return str(error) or type(error).__name__


async def unreachable(settings: Jwt, section: str = SECTION) -> Problem | None:
    """Why the keys cannot be had from the URL at the moment."""
    return await RemoteKeys(settings, lambda: None, section).problem()


class RemoteKeys:
    """The key set behind a URL. `current` is None until it was had once, and once it is too old."""

    def __init__(self, settings: Jwt, changed: Callable[[], None], section: str = SECTION) -> None:
        """changed: called when `current` is another set. `changes` counts other keys than before. Raises
        ProblemsFound."""
        self.current: KeySet | None = None
        self.failures = self.changes = 0
        self._settings = settings
        self._changed = changed
        self._section = section
        self._authorities_seen = self._seen_authorities()
        self._context = authorities(settings, section)
        self._had: float | None = None
        self._given = ""  # fingerprint of the keys that it gave last, also where these are too old by now
        self._answered = False
        self._asked = -LEAST_SECONDS
        self._asking: asyncio.Task[None] | None = None

    def stats(self) -> KeySetSnapshot:
        """When it was had, and how often it was not."""
        had = 0.0 if self._had is None else time.time() - (time.monotonic() - self._had)
        return KeySetSnapshot(had, self.failures, self.changes)

    async def keep(self) -> None:
        """Asks again and again, until it is cancelled; sooner while there is no answer."""
        refresh = self._settings.refresh / SECOND
        while True:
            await asyncio.sleep(refresh if self._answered else min(refresh, LEAST_SECONDS))
            await self.ask()
            self.drop_stale()

    async def refresh(self) -> None:
        """Asks where the last answer is too old, in place of `keep`."""
        under_way = self._asking is not None and not self._asking.done()
        due = self._settings.refresh / SECOND if self._answered else LEAST_SECONDS
        if self.current is None if under_way else time.monotonic() - self._asked >= due:
            await self.ask()
        self.drop_stale()

    async def ask(self) -> None:
        """Asks now, or waits for the question under way; a caller that is cancelled is cancelled alone."""
        if self._asking is None or self._asking.done():
            self._asked = time.monotonic()
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        await asyncio.shield(self._asking)

    async def ask_again(self) -> None:
        """For a token with an unknown key; does nothing where the last question is not long ago."""
        under_way = self._asking is not None and not self._asking.done()
        if under_way or time.monotonic() - self._asked >= LEAST_SECONDS:
            await self.ask()

    async def problem(self) -> Problem | None:
        """Asks once; why there is no answer."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                parse(await self._fetch(), self._settings)
        except FAILURES as error:
            how = "Check the URL: serve starts without it, and until it answers no token is accepted"
            return Problem(
                f"the keys of {self._section}.jwks cannot be had now", self._settings.where, _why(error), how
            )
        return None

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys = parse(await self._fetch(), self._settings)
        except FAILURES as error:
            self.failures += 1
            self._answered = False
            why = _why(error)
            stays = "the old keys stay" if self.current is not None else "there are none yet"
            log.warning("%s cannot be had, %s: %s", self._settings.where, stays, why)
            return
        self._had = time.monotonic()
        self._answered = True
        before, self.current = self.current, keys
        self.changes += self._given not in ("", keys.fingerprint)
        self._given = keys.fingerprint
        if before is None or before.fingerprint != keys.fingerprint:
            log.info("%d keys from %s", len(keys), self._settings.where)
            self._changed()

    async def _fetch(self) -> bytes:
        # redirects are not followed: the configured server alone says whose signatures count
        secure = self._settings.jwks.startswith("https://")
        self._follow_authorities()
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.get(
                self._settings.jwks,
                ssl=self._context if secure else True,
                allow_redirects=False,
                headers={"accept": "application/jwk-set+json, application/json"},
            ) as response,
        ):
            if response.status != 200:
                raise ValueError(f"HTTP status {response.status}")
            data = bytearray()
            async for piece in response.content.iter_any():
                data += piece
                if len(data) > LARGEST:
                    raise ValueError(f"more than {LARGEST} bytes")
            return bytes(data)

    def _seen_authorities(self) -> Fingerprint:
        return fingerprint([self._settings.ca]) if self._settings.ca is not None else ()

    def _follow_authorities(self) -> None:
        """The file may hold others by now. Raises ProblemsFound; the old ones stay then."""
        if (seen := self._seen_authorities()) != self._authorities_seen:
            self._context = authorities(self._settings, self._section)
            self._authorities_seen = seen

    def drop_stale(self) -> None:
        """Forgets keys that are too old: an issuer may have taken them back meanwhile."""
        if self.current is None or self._had is None:
            return
        age = time.monotonic() - self._had
        if age > self._settings.max_stale / SECOND:
            log.error("%s: the keys are %.0f s old and no longer count", self._settings.where, age)
            self.current = None
            self._changed()
