"""The control plane of access: checks credentials that are not known, and keeps what they are checked with.

One object per application. Credentials are checked one at a time, and the loop goes round between two: each costs a
fraction of a millisecond, which no request waits for longer than that.
"""

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from modelward.access import keys, names, tokens
from modelward.access.key_sets import RemoteKeys, load_file
from modelward.access.keys import KeyRing
from modelward.access.rules import Rules
from modelward.access.tokens import KeySet
from modelward.config.access import Access
from modelward.fingerprint import fingerprint
from modelward.problem import ProblemsFound
from modelward.telemetry.snapshot import AccessSnapshot
from modelward_native.access.access import Access as NativeAccess
from modelward_native.access.attempts import Attempt
from modelward_native.wire.connection import Connection
from modelward_native.wire.listener import Listener

log = logging.getLogger("modelward.access")

CERTIFICATE, JWT, KEY = "certificate", "jwt", "key"
POLL_SECONDS = 1.0
LINES_PER_ROUND = 5


class CredentialChecker:
    """What the section `access` says, at work. `native` is for the server's `guard`."""

    def __init__(self, settings: Access, listener: Listener) -> None:
        """Raises ProblemsFound."""
        self._settings = settings
        self.native = NativeAccess(listener, Rules(settings.rules))
        self.native.forwards = settings.forward_credentials
        self._attempts: asyncio.Queue[Attempt] = asyncio.Queue()
        self.native.verify = self._attempts.put_nowait
        self._refused: Counter[str] = Counter()
        self._said = 0
        self._ring = keys.load(settings.keys) if settings.keys is not None else KeyRing(())
        self._key_set: KeySet | None = None
        self._remote: RemoteKeys | None = None
        self._signing: frozenset[str] = frozenset()  # keys that tokens of open calls were signed with
        self._failed_reloads = 0
        self._waiting: set[asyncio.Task[None]] = set()
        if settings.jwt is not None:
            if settings.jwt.is_url:
                self._remote = RemoteKeys(settings.jwt, self._follow_keys)
            else:
                self._key_set = load_file(settings.jwt)
                self._signing = self._key_set.members
        self._files = _files(settings)
        self._loaded = self._seen = fingerprint(self._files)

    def follow(self, settings: Access, ring: KeyRing | None) -> None:
        """Other rules and keys, also for open streams. Whose tokens are taken (`jwt`) is fixed."""
        if settings == self._settings:
            return
        self.native.identities.replace_rules(Rules(settings.rules))
        self.native.forwards = settings.forward_credentials
        self._settings = settings
        self._files = _files(settings)
        self._loaded = self._seen = fingerprint(self._files)
        self._take(ring or KeyRing(()))
        self.native.clear()

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """What must run as long as the application does."""
        running = [self._check_attempts(), self._watch()]
        return [*running, self._remote.keep()] if self._remote is not None else running

    @property
    def lacks_keys(self) -> bool:
        """Whether the keys of tokens cannot be had from their URL."""
        return self._remote is not None and self._remote.current is None

    async def prepare(self) -> None:
        """Asks once for the keys of tokens. Until there are any, calls with a token are answered UNAVAILABLE."""
        if self._remote is not None:
            await self._remote.ask()

    # ---- certificates

    def meet(self, connection: Connection, tls: ssl.SSLObject) -> None:
        """Whose certificate the client of a new connection has shown, if any."""
        certificate = tls.getpeercert() if self._settings.certificates else None
        name = names.of_certificate(certificate) if certificate else None
        if certificate and name is not None:
            until = _monotonic_ns(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
            self.native.introduce(connection, CERTIFICATE, name, until)

    # ---- tokens and keys

    async def _check_attempts(self) -> None:
        while True:
            attempt = await self._attempts.get()
            try:
                self._check(attempt)
            except Exception:
                # the traceback names lines and no values
                log.exception("a credential could not be checked")
                attempt.postpone()
            await asyncio.sleep(0)

    def _check(self, attempt: Attempt, *, again: bool = True) -> None:
        if not attempt.wanted:
            attempt.postpone()
        elif attempt.is_key:
            self._check_key(attempt)
        elif self._settings.jwt is None:
            self._refuse(attempt, "tokens are not taken")
        else:
            self._check_token(attempt, self._settings.jwt, again=again)

    def _check_key(self, attempt: Attempt) -> None:
        key = self._ring.find(attempt.credential)
        if key is None:
            self._refuse(attempt, "it is no key of the file")
        elif key.expired(time.time()):
            self._refuse(attempt, "the key has expired", expired=True)
        else:
            attempt.accept(KEY, key.name, None if key.expires is None else _monotonic_ns(key.expires))

    def _check_token(self, attempt: Attempt, settings: Any, *, again: bool) -> None:
        key_set = self._remote.current if self._remote is not None else self._key_set
        if key_set is None:
            attempt.postpone()
            return
        try:
            claims = tokens.verify(attempt.credential, key_set, settings)
        except tokens.UnknownKey as refused:
            if again and self._remote is not None:
                self._later(attempt, self._remote)
            else:
                self._refuse(attempt, str(refused))
        except tokens.Refused as refused:
            self._refuse(attempt, str(refused), expired=isinstance(refused, tokens.Expired))
        else:
            attempt.accept(JWT, claims.name, _monotonic_ns(claims.expires))

    def _later(self, attempt: Attempt, remote: RemoteKeys) -> None:
        """Once more after the issuer was asked for newer keys; how many may wait so is access.attempts's to bound."""

        async def check() -> None:
            await remote.ask_again()
            self._check(attempt, again=False)

        task = asyncio.get_running_loop().create_task(check())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def _refuse(self, attempt: Attempt, reason: str, *, expired: bool = False) -> None:
        self._refused[reason] += 1
        if self._said < LINES_PER_ROUND:
            self._said += 1
            log.warning("a %s from %s is refused: %s", _kind(attempt), attempt.peer_name, reason)
        attempt.reject(expired)

    # ---- files

    async def _watch(self) -> None:
        """Looks at the files once a second, and tells of refusals that had no line of their own."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._reload_changed(await loop.run_in_executor(None, fingerprint, self._files))
            left_out = self._refused.total() - self._said
            if left_out:
                listed = ", ".join(f"{reason} ({count})" for reason, count in self._refused.most_common())
                log.warning("%d more credentials were refused; in all: %s", left_out, listed)
            self._refused.clear()
            self._said = 0

    def _reload_changed(self, seen: Any) -> None:
        """Loads files that differ from what was loaded, once they have been the same for two looks."""
        settled, self._seen = seen == self._seen, seen
        if not settled or seen == self._loaded:
            return
        self._loaded = seen
        try:
            self._reload()
        except ProblemsFound as found:
            self._failed_reloads += 1
            log.error("what was loaded before stays: %s", found)

    def _reload(self) -> None:
        if self._settings.jwt is not None and self._remote is None:
            self._key_set = load_file(self._settings.jwt)
            self._follow_keys()
        if self._settings.keys is not None:
            self._take(keys.load(self._settings.keys))
            log.info("%d API keys loaded", len(self._ring.keys))
        self.native.clear()

    def _follow_keys(self) -> None:
        """The issuer's keys are others, or are too old to count."""
        current = self._remote.current if self._remote is not None else self._key_set
        members = current.members if current is not None else frozenset()
        if self._signing - members:
            self.native.withdraw()
        self._signing = members
        self.native.clear()

    def _take(self, ring: KeyRing) -> None:
        before, self._ring = self._ring, ring
        for key in set(before.keys) - set(ring.keys):
            self.native.identities.revoke(KEY, key.name)

    def stats(self) -> AccessSnapshot:
        """Counters, and gauges of now."""
        totals = self.native.totals()
        return AccessSnapshot(
            hits=totals["hits"],
            misses=totals["misses"],
            refused=totals["refused"],
            known_bad=totals["known_bad"],
            cached=totals["cached"],
            identities=totals["identities"],
            failed_reloads=self._failed_reloads,
            key_set=self._remote.stats() if self._remote is not None else None,
        )


def _files(settings: Access) -> list[Path]:
    files = [Path(settings.jwt.jwks)] if settings.jwt is not None and not settings.jwt.is_url else []
    return [*files, settings.keys] if settings.keys is not None else files


def _kind(attempt: Attempt) -> str:
    return "key" if attempt.is_key else "token"


def _monotonic_ns(unix_seconds: float) -> int:
    """A moment of the wall clock on the data plane's clock, as the two stand now."""
    left = int((unix_seconds - time.time()) * 1e9)
    return time.monotonic_ns() + min(left, 2**61)
