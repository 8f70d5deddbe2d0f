"""How what has changed was distributed before and is now, and features that are not as in training: as bars in a
terminal, or in a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modelward.atomic_file import replacing
from modelward.cli.drift_report import SIDES, against_profile
from modelward.cli.shadow_report import bar
from modelward.cli.text import plain
from modelward.problem import Problem

MOST_PLOTS = 12
FILE_MODE = 0o644
NOW = "now"


def bars(facts: Mapping[str, Any]) -> RenderableType:
    return Group(*(table for each in _drawn([facts]) for table in (Text(each.title), _bars(each))))


def save(told: Sequence[Mapping[str, Any]], file: Path) -> Problem | None:
    """Draws into a PNG; what is wrong where that cannot be done."""
    where = f"--plot {file}"
    if file.suffix.lower() != ".png":
        return Problem("a picture is a .png", where, how="Name a file that ends in .png, or write --plot terminal")
    drawn = list(_drawn(told))[:MOST_PLOTS]
    if not drawn:
        return Problem("nothing has changed, so that there is nothing to draw", where)
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError:
        how = "pip install 'modelward[plot]', or write --plot terminal"
        return Problem("the package matplotlib is not installed", where, how=how)
    figure = Figure(figsize=(8, 2.2 * len(drawn)), layout="constrained")
    for axes, each in zip(figure.subplots(len(drawn), squeeze=False)[:, 0], drawn, strict=True):
        at = range(len(each.up_to))
        for side, offset in ((0, -0.2), (1, 0.2)):
            axes.bar(
                [i + offset for i in at], [pair[side] for pair in each.shares], 0.4, label=(each.before, NOW)[side]
            )
        axes.set_xticks(list(at), [_up_to(value) for value in each.up_to], fontsize=6)
        axes.set_title(each.title.replace("$", r"\$"), fontsize=8)
        axes.legend(fontsize=6)
    try:
        with replacing(file, FILE_MODE) as out:
            figure.savefig(out, format="png", dpi=150)
    except OSError as error:
        return Problem("the picture cannot be written", where, why=error.strerror or str(error))
    return None


class Drawn(Struct, frozen=True):
    """shares: of the rows before, or in training, and of those now, in bars up to these values."""

    title: str
    before: str
    up_to: Sequence[float | str | None]
    shares: Sequence[tuple[float, float]]


def _drawn(told: Sequence[Mapping[str, Any]]) -> Iterator[Drawn]:
    for facts in told:
        version = f"{plain(facts['model'])} version {plain(facts['version'])}"
        for side in SIDES:
            for signal in facts.get(side, {"signals": ()})["signals"]:
                if signal["moved"] and "bars" in signal:
                    yield _pairs(f"{version}, {side}: {plain(signal['name'])}", signal["bars"], "before", "after")
    for facts in told:
        version = f"{plain(facts['model'])} version {plain(facts['version'])}"
        for each in against_profile(facts.get("inputs", {})):
            yield _pairs(f"{version}, against the profile: {plain(each['name'])}", each["bars"], "training", "now")


def _pairs(title: str, bars: Sequence[Mapping[str, Any]], before: str, after: str) -> Drawn:
    shares = [(float(each[before]), float(each[after])) for each in bars]
    return Drawn(title, before, [each["up_to"] for each in bars], shares)


def _bars(drawn: Drawn) -> Table:
    most = max(max(pair) for pair in drawn.shares)
    table = Table("up to", drawn.before, "", NOW, "")
    for up_to, pair in zip(drawn.up_to, drawn.shares, strict=True):
        table.add_row(Text(_up_to(up_to)), *(cell for share in pair for cell in (f"{share:.1%}", bar(share / most))))
    return table


def _up_to(value: float | str | None) -> str:
    return "any" if value is None else plain(value) if isinstance(value, str) else f"{value:.4g}"
