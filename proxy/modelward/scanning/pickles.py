"""Pickles that name or call functions, found by their opcodes: nothing is unpickled."""

from __future__ import annotations

import io
import pickletools
import re
import sys
from collections.abc import Iterator
from typing import Any, Literal

Verdict = Literal["no", "yes", "unknown"]  # unknown: a bound was reached

# of a mebibyte, all tries in it together: about a second
BUDGET = 500_000
TRY = 4  # that one try costs, beside its opcodes
READ = 4096  # bytes that cost as much as an opcode
NEAR = 256  # bytes before an INST in which its mark is looked for
MARKS = 8

BINARY = re.compile(rb"\x80[\x02-\x05]")
# an opcode that names a function, and one behind it that can follow: lines of words seldom have it
GLOBAL = re.compile(
    rb"c[A-Za-z_][\w.]{0,80}\n[A-Za-z_][\w.]{0,80}\n"
    rb"(?=[()\]}\x80-\xff]|p\d|[qrUC][\x00-\x1f]|[TXB][\x00-\xff]{2}\x00\x00|S['\"]|[IFL]-?\d|[KJMG]|o[.0pq]"
    rb"|[VP][^\n]{0,200}\n[\x80-\xffpqt(R]|g\d|h[\x00-\xff][\x80-\xffRtbo]|N[\x80-\xffNtRb})\]])"
)
INST = re.compile(rb"i[A-Za-z_][\w.]{0,80}\n[A-Za-z_][\w.]{0,80}\n(?=[.pq0(a-z}\])])")

MODULES = frozenset({*sys.stdlib_module_names, "__builtin__", "commands", "copy_reg", "pip", "torch", "numpy"})
NAMES = frozenset({"GLOBAL", "INST"})
TEXTS = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "BINGET", "LONG_BINGET", "STRING"})
OPCODES = frozenset(each.code for each in pickletools.opcodes)
NUMBERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "FLOAT"})
CALLS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})


class _Spent(Exception):
    """The budget is."""


class Budget:
    """Of all tries that share it. whole: one that these are a part of."""

    def __init__(self, opcodes: int = BUDGET, whole: Budget | None = None) -> None:
        self._left = opcodes
        self._whole = whole

    def take(self, cost: int) -> None:
        if self._whole is not None:
            self._whole.take(cost)
        self._left -= cost
        if self._left < 0:
            raise _Spent


def search(data: bytes, budget: Budget) -> Verdict:
    """Whether one begins somewhere in it."""
    try:
        is_one = any(_calls(data, start, budget, whole=False) for start in _starts(BINARY, data)) or any(
            _calls(data, start, budget, whole=True) for start in _text_starts(data)
        )
    except _Spent:
        return "unknown"
    return "yes" if is_one else "no"


def begins(data: bytes, budget: Budget) -> Verdict:
    """Whether the data is one, of any protocol; its end may be missing."""
    try:
        return "yes" if _calls(data, 0, budget, whole=not BINARY.match(data)) else "no"
    except _Spent:
        return "unknown"


def _starts(pattern: re.Pattern[bytes], data: bytes) -> Iterator[int]:
    return (found.start() for found in pattern.finditer(data))


def _text_starts(data: bytes) -> Iterator[int]:
    """Where one of protocol 0 or 1 may begin: nothing marks it."""
    if b"\n" not in data and b"\x93" not in data:  # how all of them name a function
        return
    yield 0
    yield from _starts(GLOBAL, data)
    for at in _starts(INST, data):
        mark, first = at, max(0, at - NEAR)
        for _ in range(MARKS):
            mark = data.rfind(b"(", first, mark)
            if mark < 0:
                break
            yield mark


def _calls(data: bytes, start: int, budget: Budget, *, whole: bool) -> bool:
    """Whether these bytes begin with a pickle that names a function; also one whose end is missing, since it runs up to
    there. whole: it must call it too, with a stack that bears that, as words that look like opcodes have none."""
    file = io.BytesIO(data)
    file.seek(start)
    texts, names, module, before, stack = 0, False, "", "", _Stack()
    budget.take(TRY)
    try:
        for opcode, argument, _ in pickletools.genops(file):
            budget.take(1)
            texts += opcode.name in TEXTS
            if opcode.name in NAMES:
                is_name = all(part.isidentifier() for part in re.split("[ .]", str(argument)))
                if whole and not is_name:
                    break
                names, module = names or is_name, re.split("[ .]", str(argument))[0]
            names = names or (opcode.name == "STACK_GLOBAL" and texts > 0)
            if not whole and names:
                return True
            if whole:
                count = stack.run(opcode, argument)
                # a function that is called without arguments: words do that
                is_bare = (opcode.name == "INST" and not count) or (opcode.name == "OBJ" and count < 2)
                # and so do lines that nothing of a pickle follows, as INST above wants it
                behind = data[file.tell() : file.tell() + 1].decode("latin-1")
                is_line = opcode.name == "INST" and behind != "" and behind not in OPCODES
                # and so does a word like Kubernetes: an object whose state is a number
                is_number = opcode.name == "BUILD" and before in NUMBERS
                is_word = (is_bare or is_line or is_number) and module not in MODULES
                if names and opcode.name in CALLS and not is_word:
                    return True
                before = opcode.name
    except _Spent:
        raise
    except Exception:  # noqa: BLE001, S110 - whatever pickletools raises on bytes that are none
        pass
    budget.take((file.tell() - start) // READ)
    return False


class _Stack:
    """Of an unpickler: which of its entries are marks, and what its memo has."""

    def __init__(self) -> None:
        self._marks: list[bool] = []
        self._memo: set[object] = set()

    def run(self, opcode: Any, argument: object) -> int:
        """How many entries it took above a mark. Raises ValueError where an unpickler would fail."""
        before, count = list(opcode.stack_before), 0
        if pickletools.markobject in before:
            while not self._marks.pop():  # IndexError without one
                count += 1
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            if self._marks.pop():
                raise ValueError("a mark is no object")
        if "GET" in opcode.name and argument not in self._memo:
            raise ValueError("the memo has no such entry")
        if opcode.name == "MEMOIZE" or "PUT" in opcode.name:
            self._memo.add(len(self._memo) if argument is None else argument)
        self._marks += [each is pickletools.markobject for each in opcode.stack_after]
        return count
