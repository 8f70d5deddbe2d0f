"""What the race says: a table per shape of load, the promises and whether they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtests.race.ours import EVERYTHING, OURS, REFUSING, WATCHED
from loadtests.race.rounds import Lane
from loadtests.race.spike import SPIKE
from loadtests.race.triton import TRITON
from loadtests.tools.h2load import Shape
from loadtests.tools.results import Bar, table

BUSY, ALONE = Shape(8, 16), Shape(1, 1)
OURS_US = 5.0
REFUSAL_US = 2.5
WATCHED_US = 0.3
TRITON_TIMES = 14.0
SPIKE_TIMES = 1.15

METHOD = """\
CPU time per request of each server's whole process tree (threads' schedstat), on loopback, load by h2load: medians of
alternating rounds after a warm-up round, all servers running throughout. Every server runs the same ONNX model (an MLP,
30-64-32-2) on the same 156-byte ModelInferRequest of one row. A gRPC client checks an answer of each before and after,
and the bytes of all answers are counted in between. The ratio is to the first line; req/s and latency are what the
client saw, on the cores that server and client share."""

Row = dict[str, Any]


def rows(lanes: Sequence[Lane], shape: Shape) -> list[Row]:
    first = lanes[0].median(shape).cpu_us
    found = []
    for lane in lanes:
        median, (low, high) = lane.median(shape), lane.spread(shape)
        found.append({
            "name": lane.contestant.name,
            "about": lane.contestant.about,
            "cpu_us": round(median.cpu_us, 2),
            "low_us": round(low, 2),
            "high_us": round(high, 2),
            "ratio": round(median.cpu_us / first, 2),
            "requests_per_s": round(median.per_second),
            "latency_us": round(median.latency_us),
        })  # fmt: skip
    return found


def tables(lanes: Sequence[Lane], shapes: Sequence[Shape]) -> str:
    columns = ("server", "CPU us/request", "lowest-highest", "ratio", "req/s", "mean latency us")
    parts = []
    for shape in shapes:
        lines = [
            (r["name"], f"{r['cpu_us']:.2f}", f"{r['low_us']:.2f}-{r['high_us']:.2f}", f"{r['ratio']:.2f}",
             f"{r['requests_per_s']:,}", f"{r['latency_us']:,}")
            for r in rows(lanes, shape)
        ]  # fmt: skip
        parts += [f"{shape.connections} connections x {shape.streams} streams:", "", table(columns, lines), ""]
    parts += [f"- {lane.contestant.name}: {lane.contestant.about}" for lane in lanes]
    return "\n".join(parts)


def bars(lanes: Sequence[Lane]) -> list[Bar]:
    """The promises that this race can judge: of those whose contestants and shapes of load were in it."""
    medians = {(lane.contestant.name, shape): lane.median(shape).cpu_us for lane in lanes for shape in lane.samples}
    ours, alone = medians.get((OURS.name, BUSY)), medians.get((OURS.name, ALONE))
    refusal, everything = medians.get((REFUSING.name, BUSY)), medians.get((EVERYTHING.name, BUSY))
    triton, spike = medians.get((TRITON.name, BUSY)), medians.get((SPIKE.name, ALONE))
    watched = medians.get((WATCHED.name, BUSY))
    found = []
    if everything is not None and watched is not None:
        found.append(Bar(f"{BUSY}, what watching adds", watched - everything, WATCHED_US, "us/request"))
    if ours is not None:
        found.append(Bar(f"{BUSY}, every guard on", ours, OURS_US, "us/request"))
    if ours is not None and triton is not None:
        found.append(Bar(f"{BUSY}, less than Triton", triton / ours, TRITON_TIMES, "times", at_most=False))
    if everything is not None:
        found.append(Bar(f"{BUSY}, identities and budgets", everything, OURS_US, "us/request"))
    if everything is not None and triton is not None:
        times = triton / everything
        found.append(
            Bar(f"{BUSY}, identities and budgets, less than Triton", times, TRITON_TIMES, "times", at_most=False)
        )
    if alone is not None and spike is not None:
        found.append(Bar(f"{ALONE}, against the spike", alone / spike, SPIKE_TIMES, "times"))
    if refusal is not None:
        found.append(Bar(f"{BUSY}, refused by the peer limit", refusal, REFUSAL_US, "us/request"))
    return found
