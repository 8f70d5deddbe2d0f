"""`${NAME}` in the paths of the configuration: variables of the environment, such as a service manager sets."""

import os
import re
from collections.abc import Mapping

from modelward.config.units import UnitError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
HOW = "Set it where the server is started, or write the path itself"


def expanded(path: str, environ: Mapping[str, str] | None = None) -> str:
    """The path with the values of its variables. Raises UnitError for one that is not set."""

    def value(found: re.Match[str]) -> str:
        text = (os.environ if environ is None else environ).get(found[1], "")
        if not text:
            raise UnitError(f"the environment variable {found[1]} is not set", HOW)
        return text

    return _VARIABLE.sub(value, path)


def has_variable(text: object) -> bool:
    return isinstance(text, str) and _VARIABLE.search(text) is not None


def begins_with_variable(path: str) -> bool:
    """Such a path is not relative to the file that it is written in: the variables of service managers are absolute."""
    return _VARIABLE.match(path) is not None
