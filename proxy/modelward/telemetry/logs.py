"""The log on stderr: lines for people, or JSON for programs. One call per process."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from modelward.config.log import LogSettings

TIME = "%Y-%m-%dT%H:%M:%S"


class TextFormatter(logging.Formatter):
    """Lines for people. What strangers have written begins no line of its own and reaches no terminal as a command."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = "\n    ".join(shown(line) for line in record.message.split("\n"))
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One object per line. `extra={"fields": {...}}` of a call becomes fields."""

    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, object] = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "worker": self._worker,
            "fields": getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def json_line(logger: str, message: str, fields: Mapping[str, object]) -> str:
    """As the log has it with JsonFormatter: INFO, of the supervisor."""
    values = {"name": logger, "levelno": logging.INFO, "levelname": "INFO", "msg": message, "fields": fields}
    return JsonFormatter(None).format(logging.makeLogRecord(values))


def configure(settings: LogSettings, level: str | None = None, worker: int | None = None) -> None:
    """level: in place of the settings'. worker: the process's number, None for the supervisor."""
    handler = logging.StreamHandler()
    if settings.format == "json":
        handler.setFormatter(JsonFormatter(worker))
    else:
        who = "" if worker is None else f"[worker {worker}] "
        handler.setFormatter(TextFormatter(f"%(asctime)s %(levelname)s %(name)s {who}%(message)s", TIME))
    logging.basicConfig(level=(level or settings.level).upper(), handlers=[handler], force=True)


def shown(text: str) -> str:
    """A stranger's text as it is logged: what is not printable is an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
