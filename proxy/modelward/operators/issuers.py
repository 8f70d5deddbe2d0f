"""The issuers whose tokens are taken from operators, and their keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from modelward.access import tokens
from modelward.access.key_sets import RemoteKeys, load_file
from modelward.access.tokens import KeySet, UnknownKey
from modelward.config.access import Jwt
from modelward.fingerprint import fingerprint
from modelward.operators.identity import Unauthenticated
from modelward.problem import Gather, ProblemsFound

log = logging.getLogger("modelward.operators")

SECTION = "operators.tokens"
LONGEST = 16 << 10  # bytes of a token


class Issuers:
    """Keys are looked at when a token comes: nothing runs while no operator calls. failures: files and downloads that
    gave no keys."""

    def __init__(self, settings: Sequence[Jwt], changed: Callable[[str], None] = lambda issuer: None) -> None:
        """Reads the files. changed: told of an issuer whose URL gives other keys. Raises ProblemsFound."""
        self._sources: dict[str, _File | _Url] = {}
        found = Gather()
        for each in settings:
            source = found.step(lambda each=each: _Url(each, changed) if each.is_url else _File(each))  # type: ignore[misc]
            if source is not None:
                self._sources[each.issuer] = source
        found.end()

    @property
    def failures(self) -> int:
        return sum(each.failures for each in self._sources.values())

    async def verify(self, token: str) -> tuple[str, str]:
        """The name that a token proves, and its issuer. Raises Unauthenticated."""
        raw = token.encode(errors="replace")
        if len(raw) > LONGEST:
            raise Unauthenticated(f"the token is refused: it has more than {LONGEST} bytes")
        try:
            source = self._sources.get(tokens.issuer_of(raw))
            if source is None:
                raise tokens.Refused("its issuer is none of operators.tokens")
            return (await source.verify(raw)).name, source.settings.issuer
        except tokens.OtherAudience as refused:
            assert source is not None
            wanted = " or ".join(source.settings.audience)
            raise Unauthenticated(f"the token is refused: {refused}: {wanted} is expected") from None
        except tokens.Refused as refused:
            raise Unauthenticated(f"the token is refused: {refused}") from None


class _File:
    """A key set in a file, loaded again when it has changed."""

    def __init__(self, settings: Jwt) -> None:
        self.settings = settings
        self.failures = 0
        self._file = Path(settings.jwks)
        self._loaded = fingerprint([self._file])
        self._keys: KeySet = load_file(settings, SECTION)

    async def verify(self, token: bytes) -> tokens.Claims:
        await asyncio.get_running_loop().run_in_executor(None, self._follow)
        return tokens.verify(token, self._keys, self.settings)

    def _follow(self) -> None:
        seen = fingerprint([self._file])
        if seen == self._loaded:
            return
        self._loaded = seen
        try:
            self._keys = load_file(self.settings, SECTION)
        except ProblemsFound as found:
            self.failures += 1
            log.error("the keys that were loaded before stay: %s", found)


class _Url:
    """A key set behind a URL."""

    def __init__(self, settings: Jwt, changed: Callable[[str], None]) -> None:
        self.settings = settings
        self._remote = RemoteKeys(settings, self._has_changed, SECTION)
        self._tell = changed
        self._told = 0

    def _has_changed(self) -> None:
        if self._remote.changes > self._told:  # neither the first keys nor the same again
            self._told = self._remote.changes
            self._tell(self.settings.issuer)

    @property
    def failures(self) -> int:
        return self._remote.failures

    async def verify(self, token: bytes) -> tokens.Claims:
        await self._remote.refresh()
        try:
            return tokens.verify(token, self._keys(), self.settings)
        except UnknownKey:  # it may be a newer one
            await self._remote.ask_again()
            return tokens.verify(token, self._keys(), self.settings)

    def _keys(self) -> KeySet:
        if self._remote.current is None:
            raise Unauthenticated("the token cannot be checked: the issuer's keys cannot be had now; the log says why")
        return self._remote.current
