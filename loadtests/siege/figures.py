"""From what the clients wrote down to figures per phase and per second."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HONEST_USER = "HonestTenant"
REFUSED = ("RESOURCE_EXHAUSTED", "UNAVAILABLE")
MIB = 2**20


@dataclass(frozen=True)
class Call:
    """One call of one client. at: wall time in seconds of its end."""

    at: float
    user: str
    ms: float
    status: str

    @property
    def honest(self) -> bool:
        return self.user == HONEST_USER


@dataclass(frozen=True)
class Span:
    """A phase as it was: wall times in seconds."""

    name: str
    begun: float
    ended: float


@dataclass(frozen=True)
class Memory:
    at: float
    resident: int  # bytes of the whole process tree


@dataclass(frozen=True)
class Figures:
    """Of one phase. Latencies are milliseconds of the honest; NaN where none was answered."""

    name: str
    honest: int
    succeeded: int
    p50: float
    p99: float
    goodput: float  # answers per second, everybody's
    refused: float  # per second, everybody's
    memory: int  # bytes, the most that was seen

    @property
    def success(self) -> float:
        return self.succeeded / self.honest if self.honest else math.nan


def read(logs: Iterable[Path]) -> list[Call]:
    """Every call of every client, in the order of time; a line that a client's end cut off is left out."""
    calls = []
    for log in logs:
        for line in log.read_text().splitlines():
            parts = line.split()
            if len(parts) == 4:
                calls.append(Call(float(parts[0]), parts[1], float(parts[2]), parts[3]))
    return sorted(calls, key=lambda call: call.at)


def of_phase(span: Span, calls: Sequence[Call], memory: Sequence[Memory]) -> Figures:
    """A call belongs to the phase in which it ended."""
    there = [call for call in calls if span.begun <= call.at < span.ended]
    honest = [call for call in there if call.honest]
    latencies = sorted(call.ms for call in honest if call.status == "OK")
    seconds = span.ended - span.begun
    return Figures(
        name=span.name,
        honest=len(honest),
        succeeded=len(latencies),
        p50=percentile(latencies, 0.50),
        p99=percentile(latencies, 0.99),
        goodput=sum(call.status == "OK" for call in there) / seconds,
        refused=sum(call.status in REFUSED for call in there) / seconds,
        memory=max((m.resident for m in memory if span.begun <= m.at < span.ended), default=0),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank; NaN of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def per_second(calls: Sequence[Call], begun: float, ended: float) -> list[Figures]:
    """The same figures, second by second: what is drawn."""
    seconds: list[list[Call]] = [[] for _ in range(max(1, math.ceil(ended - begun)))]
    for call in calls:
        if begun <= call.at < ended:
            seconds[int(call.at - begun)].append(call)
    return [of_phase(Span(str(i), begun + i, begun + i + 1), of, ()) for i, of in enumerate(seconds)]
