"""What a siege says: a table of phases, the criteria and whether they are met, a page with plots."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure

from loadtests.siege.figures import Figures, Memory, Span
from loadtests.siege.plan import QUIET
from loadtests.tools.results import Bar, table

matplotlib.use("agg")

SUCCESS = 99.9
MEMORY_MIB = 64.0
MIB = 2**20


def phases_table(phases: Sequence[Figures]) -> str:
    columns = ("phase", "honest", "succeeded %", "p50 ms", "p99 ms", "goodput/s", "refused/s", "memory MiB")
    return table(columns, [
        (f.name, f"{f.honest:,}", f"{100 * f.success:.2f}", f"{f.p50:.1f}", f"{f.p99:.1f}", f"{f.goodput:,.0f}",
         f"{f.refused:,.0f}", f"{f.memory / MIB:.0f}")
        for f in phases
    ])  # fmt: skip


def bars(whole: Figures, phases: Sequence[Figures], others: Mapping[str, float]) -> list[Bar]:
    """whole: all phases as one. others: p99 in ms of the honest through other proxies, under the same siege."""
    quiet = next(f for f in phases if f.name == QUIET)
    found = [
        Bar("honest calls that succeeded", 100 * whole.success, SUCCESS, "%", at_most=False),
        Bar("memory above what it was when quiet", (whole.memory - quiet.memory) / MIB, MEMORY_MIB, "MiB"),
    ]
    return found + [Bar(f"p99 of the honest, against {name}", whole.p99, p99, "ms") for name, p99 in others.items()]


def page(title: str, text: str, plots: bytes) -> str:
    """A page that needs nothing else."""
    picture = base64.b64encode(plots).decode()
    return (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title>"
        "<style>body{font:15px sans-serif;max-width:75rem;margin:2rem auto}pre{overflow-x:auto}img{width:100%}</style>"
        f"<h1>{html.escape(title)}</h1><img alt='over time' src='data:image/svg+xml;base64,{picture}'>"
        f"<pre>{html.escape(text)}</pre>"
    )


def draw(seconds: Sequence[Figures], memory: Sequence[Memory], spans: Sequence[Span]) -> bytes:
    """SVG: goodput and refusals, latency of the honest, their success, memory; all over time in seconds."""
    begun = spans[0].begun
    figure = Figure(figsize=(14, 12), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True)
    x = range(len(seconds))
    axes[0].plot(x, [s.goodput for s in seconds], label="answered")
    axes[0].plot(x, [s.refused for s in seconds], label="refused")
    axes[0].set_ylabel("calls per second")
    axes[1].plot(x, [s.p50 for s in seconds], label="p50")
    axes[1].plot(x, [s.p99 for s in seconds], label="p99")
    axes[1].set(ylabel="latency of the honest, ms", yscale="log")
    axes[2].plot(x, [100 * s.success for s in seconds], label="succeeded")
    axes[2].set(ylabel="honest calls, %", ylim=(0, 105))
    axes[3].plot([m.at - begun for m in memory], [m.resident / MIB for m in memory], label="resident")
    axes[3].set(ylabel="memory, MiB", ylim=(0, None), xlabel="seconds")
    for axis in axes:
        axis.legend(loc="upper right")
        axis.grid(alpha=0.3)
        for span in spans:
            axis.axvline(span.begun - begun, color="grey", linewidth=0.5)
    for span in spans:
        middle = (span.begun + span.ended) / 2 - begun
        axes[0].text(middle, 1.02, span.name, transform=axes[0].get_xaxis_transform(), rotation=30, fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="svg")
    return out.getvalue()


def sparkline(values: Sequence[float], width: int = 72) -> str:
    """A line of a text: the mean of each stretch of time between nothing and the most."""
    blocks = "▁▂▃▄▅▆▇█"
    step = max(1, math.ceil(len(values) / width))
    stretches = [[v for v in values[i : i + step] if not math.isnan(v)] for i in range(0, len(values), step)]
    means = [sum(s) / len(s) if s else 0.0 for s in stretches]
    most = max(means, default=0.0) or 1.0
    return "".join(blocks[min(7, int(8 * mean / most))] for mean in means)
