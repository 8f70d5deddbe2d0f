"""What a siege says: a table of phases, and a page with plots."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.siege.criteria import Past
from loadtests.siege.figures import MIB, Figures, Memory, Span
from loadtests.tools.results import table

matplotlib.use("agg")

BEGIN, END = "<!-- siege: begin -->", "<!-- siege: end -->"


def phases_table(phases: Sequence[Figures]) -> str:
    columns = ("phase", "honest", "succeeded %", "p50 ms", "p99 ms", "goodput/s", "refused/s", "memory MiB")
    return table(columns, [
        (f.name, f"{f.honest:,}", f"{100 * f.success:.2f}", f"{f.p50:.1f}", f"{f.p99:.1f}", f"{f.goodput:,.0f}",
         f"{f.refused:,.0f}", f"{f.memory / MIB:.0f}")
        for f in phases
    ])  # fmt: skip


def page(title: str, text: str, light: bytes, dark: bytes) -> str:
    """A page that needs nothing else. light, dark: the plots as SVG, each for one colour scheme of its reader."""
    sources = [f"data:image/svg+xml;base64,{base64.b64encode(plots).decode()}" for plots in (light, dark)]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=color-scheme content='light dark'>"
        f"<meta name=viewport content='width=device-width'><title>{html.escape(title)}</title>"
        "<style>:root{color-scheme:light dark;background:Canvas;color:CanvasText}body{font:15px sans-serif;"
        "max-width:75rem;margin:2rem auto;padding:0 1rem}pre{overflow-x:auto}img{width:100%}</style>"
        f"<h1>{html.escape(title)}</h1><picture><source media='(prefers-color-scheme: dark)' srcset='{sources[1]}'>"
        f"<img alt='over time' src='{sources[0]}'></picture><pre>{html.escape(text)}</pre></html>"
    )


def draw(
    seconds: Sequence[Figures], memory: Sequence[Memory], spans: Sequence[Span], others: Sequence[Past], *, dark: bool
) -> bytes:
    """SVG: goodput and refusals, latency of the honest, their success, memory; all over time in seconds.

    Of the others it has a level per phase, over the same phase here.
    """
    with matplotlib.style.context("dark_background" if dark else "default"):
        figure = Figure(figsize=(14, 14), layout="constrained")
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
        begun = spans[0].begun
        axes[3].plot([m.at - begun for m in memory], [m.resident / MIB for m in memory], label="resident")
        axes[3].set(ylabel="memory, MiB", ylim=(0, None), xlabel="seconds")
        for i, peer in enumerate(others):
            look = {"color": f"C{i + 3}", "linestyle": "--", "linewidth": 1}
            edges = [edge - begun for span in spans for edge in (span.begun, span.ended)]
            there = [peer.phases.get(span.name) for span in spans for _ in range(2)]
            axes[1].plot(edges, [f.p99 if f else math.nan for f in there], label=f"{peer.name}, p99", **look)
            axes[2].plot(edges, [100 * f.success if f else math.nan for f in there], label=peer.name, **look)
            axes[3].plot(edges, [f.memory / MIB if f else math.nan for f in there], label=peer.name, **look)
        _mark(axes, spans)
        out = io.BytesIO()
        figure.savefig(out, format="svg")
    return out.getvalue()


def _mark(axes: Sequence[Axes], spans: Sequence[Span]) -> None:
    """Phases by name; legends; a grid."""
    begun = spans[0].begun
    for axis in axes:
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
        axis.grid(alpha=0.3)
        for span in spans:
            axis.axvline(span.begun - begun, color="grey", linewidth=0.5)
    for span in spans:
        middle = (span.begun + span.ended) / 2 - begun
        axes[0].text(middle, 1.02, span.name, transform=axes[0].get_xaxis_transform(), rotation=30, fontsize=8)


def told(readme: str, text: str) -> str:
    """The README with `text` as its last siege."""
    before, _, rest = readme.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def sparkline(values: Sequence[float], width: int = 72) -> str:
    """A line of a text: the mean of each stretch of time between nothing and the most."""
    blocks = "▁▂▃▄▅▆▇█"
    step = max(1, math.ceil(len(values) / width))
    stretches = [[v for v in values[i : i + step] if not math.isnan(v)] for i in range(0, len(values), step)]
    means = [sum(s) / len(s) if s else 0.0 for s in stretches]
    most = max(means, default=0.0) or 1.0
    return "".join(blocks[min(7, int(8 * mean / most))] for mean in means)
