"""How what has changed was distributed before, and is now: bars in a terminal, or a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modelward.atomic_file import replacing
from modelward.cli.drift_report import SIDES
from modelward.cli.output import plain
from modelward.cli.shadow_report import bar
from modelward.problem import Problem

MOST_PLOTS = 12
FILE_MODE = 0o644


def bars(facts: Mapping[str, Any]) -> RenderableType:
    return Group(*(table for name, signal in _changed([facts]) for table in (Text(name), _bars(signal["bars"]))))


def save(told: Sequence[Mapping[str, Any]], file: Path) -> Problem | None:
    """Draws into a PNG; what is wrong where that cannot be done."""
    where = f"--plot {file}"
    if file.suffix.lower() != ".png":
        return Problem("a picture is a .png", where, how="Name a file that ends in .png, or write --plot terminal")
    changed = list(_changed(told))[:MOST_PLOTS]
    if not changed:
        return Problem("nothing has changed, so that there is nothing to draw", where)
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError:
        how = "pip install 'modelward[plot]', or write --plot terminal"
        return Problem("the package matplotlib is not installed", where, how=how)
    figure = Figure(figsize=(8, 2.2 * len(changed)), layout="constrained")
    for axes, (name, signal) in zip(figure.subplots(len(changed), squeeze=False)[:, 0], changed, strict=True):
        at = range(len(signal["bars"]))
        for side, offset in (("before", -0.2), ("after", 0.2)):
            label = "now" if side == "after" else side
            axes.bar([i + offset for i in at], [each[side] for each in signal["bars"]], 0.4, label=label)
        axes.set_xticks(list(at), [_up_to(each["up_to"]) for each in signal["bars"]], fontsize=6)
        axes.set_title(name.replace("$", r"\$"), fontsize=8)
        axes.legend(fontsize=6)
    try:
        with replacing(file, FILE_MODE) as out:
            figure.savefig(out, format="png", dpi=150)
    except OSError as error:
        return Problem("the picture cannot be written", where, why=error.strerror or str(error))
    return None


def _changed(told: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for facts in told:
        for side in SIDES:
            for signal in facts.get(side, {"signals": ()})["signals"]:
                if signal["moved"] and "bars" in signal:
                    version = f"{plain(facts['model'])} version {plain(facts['version'])}"
                    yield f"{version}, {side}: {plain(signal['name'])}", signal


def _bars(rows: Sequence[Mapping[str, Any]]) -> Table:
    most = max(max(row["before"], row["after"]) for row in rows)
    table = Table("up to", "before", "", "now", "")
    for row in rows:
        cells = [cell for side in ("before", "after") for cell in (f"{row[side]:.1%}", bar(row[side] / most))]
        table.add_row(Text(_up_to(row["up_to"])), *cells)
    return table


def _up_to(value: float | str | None) -> str:
    return "any" if value is None else plain(value) if isinstance(value, str) else f"{value:.4g}"
