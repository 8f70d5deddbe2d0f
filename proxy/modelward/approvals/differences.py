"""What an approver of a configuration sees: who may do what first, as it was understood, then all lines of files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from modelward.config.changes import OF_RIGHTS, OF_RIGHTS_OF_MODELS, right_of_model, value_of
from modelward.config.named_files import is_secret
from modelward.status import clip

RIGHTS = (*OF_RIGHTS, "access")
MOST_BYTES = 64 << 10
"""Of a diff, in the state folder and in an answer. What is longer is approved by signatures only."""
LONGEST_VALUE = 200  # characters of one in a record
EACH_LINE = 8  # bytes of a line beside its text, as it is kept
CUT = "... and {} more lines: compare the files themselves, and sign them: modelward config sign"
_BLANKS = re.compile(r"(?<=.\S)[^\S\r\n]{9,}|(?<=^.)[^\S\r\n]{65,}|[^\S\r\n]{9,}$")


def differences(before: Mapping[str, bytes], after: Mapping[str, bytes], was: Any, now: Any) -> tuple[str, ...]:
    """was, now: configurations that the texts before and after say."""
    return (*rights(was, now), *_lines(before, after))


def bounded(lines: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """As many as are kept, and whether that is not all of them, which the last line tells."""
    size = 0
    for index, line in enumerate(lines):
        size += len(line.encode()) + EACH_LINE
        if size > MOST_BYTES:
            return (*lines[:index], CUT.format(len(lines) - index)), True
    return lines, False


def rights(was: Any, now: Any) -> Iterator[str]:
    """Settings that differ of what says who may do what, whichever lines of the files they come from."""
    for path, before, after in _changed(was, now):
        yield f"{path}: {before} -> {after}"


def on_record(was: Any, now: Any) -> tuple[str, ...]:
    """The same for the audit trail: short, and without what may be a secret, such as the arguments of a command."""
    lines = []
    for path, before, after in _changed(was, now):
        values = f"{clip(before, LONGEST_VALUE)} -> {clip(after, LONGEST_VALUE)}"
        lines.append(f"{clip(path)}: {'changed' if is_secret(re.split(r'[.[]', path)) else values}")
    return tuple(lines)


def _changed(was: Any, now: Any) -> Iterator[tuple[str, str, str]]:
    """Path, before and after of each."""
    before, after = (dict(_settings(config)) for config in (was, now))
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            yield path, before.get(path, "absent"), after.get(path, "absent")


def _settings(config: Any) -> Iterator[tuple[str, str]]:
    for key in RIGHTS:
        yield from _leaves(key, _plain(value_of(config, key)))
    for name in config.models:
        for key in OF_RIGHTS_OF_MODELS:
            yield from _leaves(f"models.{name}.{key}", _plain(right_of_model(config, name, key)))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", fallback=str)
    return None if value is None else str(value)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _leaves(f"{path}.{key}", each)
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        for index, each in enumerate(value):
            yield from _leaves(f"{path}[{index}]", each)
    elif value is not None:
        yield path, ascii(value)


def _lines(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Iterator[str]:
    """Of all files that differ, as `diff -u` prints them, with long runs of blanks told by their length."""
    for name in sorted({*before, *after}):
        if before.get(name) == after.get(name):
            continue
        texts = (files.get(name, b"").decode("utf-8", "backslashreplace").split("\n") for files in (before, after))
        was, now = (text[:-1] if not text[-1] else [*text[:-1], text[-1]] for text in texts)
        found = [*difflib.unified_diff(was, now, f"approved {name}", f"proposed {name}", lineterm="")]
        for line in found or [f"{name}: only the end of the last line differs"]:
            yield _BLANKS.sub(lambda run: f"[{len(run[0])} blanks]", line)
