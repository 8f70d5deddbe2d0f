"""Replicas over time, a panel for each trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadtests.scaling.fleet import Run
from scripts.docs.svg import PALE, picture, text

WIDTH, PANEL, GAP, LEFT, RIGHT, TOP = 980, 150, 62, 60, 20, 70
BLUE, GREY, RED = "#0969da", "#8c959f", "#cf222e"


def plot(runs: Sequence[Run], on_cpu: Mapping[str, Run]) -> str:
    """on_cpu: of traces that were also scaled by CPU, by name."""
    body = [
        text(LEFT, 34, "Replicas over time", size=17, weight=600),
        *_legend(54),
    ]
    y = TOP
    for run in runs:
        y += GAP - 22
        body += _panel(y, run, on_cpu.get(run.trace.name))
        y += PANEL + 22
    return picture(WIDTH, y + 20, "Replicas over time, by trace of load", body)


def _legend(y: int) -> list[str]:
    parts, x = [], LEFT
    for colour, words in (
        (BLUE, "replicas, by modelward_utilization"),
        (RED, "replicas, by CPU"),
        (GREY, "load, in pods at the target"),
    ):
        parts.append(f'<rect x="{x}" y="{y - 9}" width="14" height="4" fill="{colour}"/>')
        parts.append(text(x + 20, y - 2, words, PALE, size=12))
        x += 40 + 7 * len(words)
    return parts


def _panel(top: int, run: Run, other: Run | None) -> list[str]:
    highest = max([*run.replicas, *run.load, *(other.replicas if other is not None else ())])
    high = max(2, 2 * round(highest / 2 + 0.6))
    span = run.trace.seconds

    def at(time: float, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * time / span
        return f"{x:.1f},{top + PANEL - PANEL * value / high:.1f}"

    def line(values: Sequence[float], colour: str, width: float) -> str:
        points: list[str] = []
        last = None
        for time, value in zip(run.times, values, strict=True):
            if last is None or value != last:
                points += [] if last is None else [at(time, last)]
                points.append(at(time, value))
                last = value
        points.append(at(span, values[-1]))
        return f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    every = max(1, len(run.times) // 300)
    load = " ".join(at(run.times[i], run.load[i]) for i in range(0, len(run.times), every))
    grid = []
    for value in (0, high // 2, high):
        y = float(at(0, value).split(",")[1])
        grid.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#d0d7de" stroke-width="1"/>')
        grid.append(text(LEFT - 8, round(y) + 4, str(value), PALE, size=12, anchor="end"))
    unit, name = (3600, "h") if span > 4 * 3600 else (60, "min")
    ticks = [
        text(
            float(at(span * i / 4, 0).split(",")[0]), top + PANEL + 16, f"{span * i / 4 / unit:g} {name}", PALE, size=11
        )
        for i in range(4)
    ]
    return [
        text(LEFT, top - 10, f"{run.trace.name}, {run.kind.name}", weight=600, size=13),
        *grid,
        *ticks,
        f'<polyline points="{load}" fill="none" stroke="{GREY}" stroke-width="1.2" stroke-dasharray="4 3"/>',
        *([line(other.replicas, RED, 1.5)] if other is not None else []),
        line(run.replicas, BLUE, 2),
    ]
