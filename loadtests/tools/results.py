"""Result files: loadtests/results/NAME.md for people and NAME.json with everything that was measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Bar:
    """A promise and what became of it. `at_most` is False where the figure must be at least the bound."""

    name: str
    figure: float
    bound: float
    unit: str
    at_most: bool = True

    @property
    def reached(self) -> bool:
        return self.figure <= self.bound if self.at_most else self.figure >= self.bound

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        verdict = "reached" if self.reached else "not reached"
        return f"{self.name}: {self.figure:,.2f} {self.unit} (bar {sign} {self.bound:g}): {verdict}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table that reads well in a terminal too: the first column to the left, figures to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [columns, *cells]) for i in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        figures = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        fitted = [row[0].ljust(widths[0]), *figures]
        return f"| {' | '.join(fitted)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(columns), line(rule), *map(line, cells)])


def document(title: str, method: str, facts: Mapping[str, str], command: str, body: str) -> str:
    lines = [f"# {title}", "", method, "", f"- command: `{command}`"]
    lines += [f"- {name}: {fact}" for name, fact in facts.items()]
    return "\n".join([*lines, "", body, ""])


def write(name: str, text: str, data: Mapping[str, Any]) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.md").write_text(text)
    (FOLDER / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
