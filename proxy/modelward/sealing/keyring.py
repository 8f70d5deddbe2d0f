"""The keys of a server, read by the process that starts the workers and handed to these with the configuration.

So a worker that takes the place of another needs no key management service, and has no key in its environment.
"""

from __future__ import annotations

import logging
import time

from modelward.config.schema import Config
from modelward.config.sealing import IdentitySource, Secret
from modelward.fingerprint import Fingerprint, fingerprint

log = logging.getLogger("modelward.sealing")

# a reload asks for the configuration twice: for its rules and for its models
FRESH_SECONDS = 5.0


class Keyring:
    """What each source gave last. Of one process."""

    def __init__(self) -> None:
        self._kept: dict[IdentitySource, tuple[float, Fingerprint, Secret]] = {}

    def given_to(self, config: Config) -> Config:
        """The same, with the keys that it names. Blocks: a command may take long."""
        if config.sealing is None:
            return config
        from modelward.sealing.process import seclude  # noqa: PLC0415 - only where something is sealed

        seclude()
        return config.with_secrets(tuple(map(self._secret, config.sealing.identities)))

    def _secret(self, source: IdentitySource) -> Secret:
        """A source that fails, and has not before, gives what it gave."""
        now = time.monotonic()
        seen = fingerprint([source.file]) if source.file is not None else ()
        at, known, kept = self._kept.get(source, (0.0, (), None))
        if kept is not None and now - at < FRESH_SECONDS and seen == known:
            return kept
        from modelward.sealing.sources import read  # noqa: PLC0415 - only where something is sealed

        secret = read(source)
        if secret.fault:
            # a variable is taken out of the environment: the second time there is nothing
            if source.environment is None or kept is None:
                log.error("an identity that opens sealed models cannot be read: %s: %s", secret.name, secret.fault)
            if kept is not None:
                return kept
        else:
            self._kept[source] = now, seen, secret
        return secret
