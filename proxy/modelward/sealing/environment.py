"""Identities in environment variables: taken out of the environment at the start, and handed to the workers."""

from __future__ import annotations

from modelward.config.schema import Config
from modelward.sealing.process import seclude, take_variable


class Variables:
    """Those that `sealing.identities` has named so far, with what they held. Of one process."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def given_to(self, config: Config) -> Config:
        """The same, with the values of those that it names. They are gone from /proc/PID/environ."""
        if config.sealing is None:
            return config
        seclude()
        names = [source.environment for source in config.sealing.identities if source.environment is not None]
        for name in names:
            value = take_variable(name)
            if value is not None:
                self._values[name] = value
        return config.with_variables({name: self._values[name] for name in names if name in self._values})
