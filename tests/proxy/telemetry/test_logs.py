"""Lines of the log for people."""

from __future__ import annotations

import io
import logging

from modelward.telemetry.logs import TextFormatter


def written(message: str, *values: str) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter("%(levelname)s %(message)s"))
    handler.handle(logging.LogRecord("modelward", logging.WARNING, "file", 1, message, values, None))
    return stream.getvalue()


def test_what_a_stranger_wrote_cannot_begin_a_line_of_its_own_or_command_the_terminal() -> None:
    seen = written("rolled back: %s", "x\nERROR by alice\x1b]0;owned\x07\r\tend")
    assert seen == "WARNING rolled back: x\n    ERROR by alice\\x1b]0;owned\\x07\\r\\tend\n"


def test_a_traceback_is_printed_as_it_is() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter("%(message)s"))
    log = logging.Logger("modelward")
    log.addHandler(handler)
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it failed")
    assert stream.getvalue().startswith("it failed\nTraceback (most recent call last):\n  File ")
