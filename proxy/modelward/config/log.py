"""What the server writes to stderr, and how."""

from typing import Literal

from modelward.config.section import Section

Level = Literal["debug", "info", "warning", "error"]


class LogSettings(Section):
    format: Literal["text", "json"] = "text"
    """json: one object per line, with time, level, logger, message, worker and fields."""
    level: Level = "info"
    """Lowest level that is written. --log-level overrides it."""
