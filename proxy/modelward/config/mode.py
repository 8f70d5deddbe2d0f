"""Permission bits of a Unix socket, written as chmod takes them."""

import re

from modelward.config.fields import WithJsonSchema
from modelward.config.units import UnitError

# this user alone, as for any file that lets one in
DEFAULT_MODE = 0o600
HOW = 'Write three or four octal digits in quotes, such as "0660"'
MODE_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^0?[0-7]{3}$", "examples": ["0660"]})


def parse_mode(value: object) -> int:
    """ "0660" -> 0o660. A number without quotes is refused: YAML reads 0660 as 432 and 660 as 660. Raises UnitError."""
    if not isinstance(value, str):
        raise UnitError(f"{value!r} is not a mode in quotes", HOW)
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise UnitError(f"{value!r} is not a mode", HOW)
    return int(value, 8)


def write_mode(mode: int) -> str:
    """The way in which `parse_mode` takes it."""
    return f"{mode:04o}"
