"""What is known of a version's drift, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from modelward.cli.output import console, time_of
from modelward.cli.tables import fitted
from modelward.cli.text import plain

STYLES = {"moved": "bold red", "quiet": "green", "learning": "yellow"}
WORDS = {"moved": "changed", "quiet": "as before", "learning": "being learnt"}
CAUSES = {
    "world": "the world's change: inputs, or the outputs of other versions, have changed too",
    "own": "the version's own change: neither its inputs nor the outputs of others have changed",
    "unclear": "whose change it is cannot be told: no other version has had enough requests since",
}
TITLES = {"training": "likeness to the training data"}
FAR, MOST_FAR = 0.01, 12
SIDES = ("inputs", "outputs", "training")


def render(facts: Mapping[str, Any]) -> RenderableType:
    """What modelward.drift.report gave of one version: a line for each side, a table of what has changed."""
    head = Text.assemble(
        f"{plain(facts['model'])} version {plain(facts['version'])} is ",
        (WORDS[facts["state"]], STYLES[facts["state"]]),
        f" (false alarms at most 1 in {facts['false_alarms']:,} requests, tolerance {facts['tolerance']:.4g})",
    )
    lines = [line for side in SIDES if side in facts for line in _side(side, facts[side])]
    told = [Text(CAUSES[facts["cause"]])] if facts["cause"] else []
    return Group(head, *told, *lines)


def _side(name: str, side: Mapping[str, Any]) -> Iterator[RenderableType]:
    words = Text.assemble(f"  {TITLES.get(name, name)}: ", (WORDS[side["state"]], STYLES[side["state"]]))
    words.append(f", {side['rows']:,} rows of {side['requests']:,} requests judged")
    if side["since"] is not None:
        words.append(f", since {time_of(side['since'])}")
    yield words
    if far := against_profile(side):
        columns = ("feature", "rows elsewhere than in training", "missing")
        rows = [(each["name"], f"{each['distance']:.0%}", f"{each['missing']:.1%}") for each in far]
        yield fitted("against the profile", columns, rows, console().width)
    moved = [signal for signal in side["signals"] if signal["moved"]]
    if not moved:
        return
    shown = ("signal", "since", "rows moved", "before", "now", "nats", "by mix", "mostly through")
    yield fitted("", shown, map(_row, moved), console().width)


def against_profile(side: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Features of which a percent of the rows or more lie elsewhere than in training, the farthest first."""
    return [each for each in side.get("profile", ()) if each["distance"] >= FAR][:MOST_FAR]


def _row(signal: Mapping[str, Any]) -> tuple[str, ...]:
    name, since, nats = plain(signal["name"]), time_of(signal["since"]), f"{signal['nats']:.0f}"
    if "distance" not in signal:
        return name, since, "", "", "", nats, "", ""
    return (
        name,
        since,
        f"{signal['distance']:.0%}",
        _summary(signal["before"]),
        _summary(signal["after"]),
        nats,
        f"{signal['mix']:.0%}",
        _identities(signal["identities"]),
    )


def _summary(told: Mapping[str, Any]) -> str:
    words = []
    if "median" in told:
        words.append(f"{told['median']:.4g} ({told['low']:.4g} to {told['high']:.4g})")
    if told.get("unknown"):
        words.append(f"{told['unknown']:.1%} unknown")
    if told["missing"]:
        words.append(f"{told['missing']:.1%} missing")
    return ", ".join(words)


def _identities(parts: list[Mapping[str, Any]]) -> str:
    """Those with a tenth of the change or more."""
    return "\n".join(
        f"{plain(part['identity'])} {part['contribution']:.0%} ({part['before']:.0%} of rows, now {part['after']:.0%})"
        for part in parts
        if part["contribution"] >= 0.1
    )
