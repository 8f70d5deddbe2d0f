"""Pods, a load and an autoscaler, second by second."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from loadtests.scaling.hpa import SYNC_SECONDS, Autoscaler, Behaviour, Policy
from loadtests.scaling.pods import SCRAPE_SECONDS, Kind, Pod, new_pod
from loadtests.scaling.traces import Trace

TARGET = 0.7
# as the manifests in deploy have it
BEHAVIOUR = Behaviour(
    up=(Policy(100, 15, percent=True), Policy(2, 15)), down=(Policy(25, 60, percent=True),), down_window=300
)
START_SECONDS = 0.5  # of a server with one model, until it is ready
SCHEDULING_SECONDS = 4.0  # until a pod's process begins, its image being there, and until its address is known
READY_SECONDS = START_SECONDS + SCHEDULING_SECONDS
UNEVEN = 0.05  # how much more or less than another a pod gets


@dataclass
class Run:
    """What became of one trace, by step. refused: honest requests, of `came`."""

    trace: Trace
    kind: Kind
    times: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    replicas: list[int] = field(default_factory=list)
    came: float = 0.0
    refused: float = 0.0

    @property
    def turns(self) -> int:
        """How often replicas that had grown were taken away, or the reverse."""
        steps = [b - a for a, b in pairwise(self.replicas) if a != b]
        return sum((a > 0) != (b > 0) for a, b in pairwise(steps))

    @property
    def changes(self) -> int:
        return sum(a != b for a, b in pairwise(self.replicas))

    def tell(self) -> dict[str, object]:
        return {
            "trace": self.trace.name,
            "pods": self.kind.name,
            "fewest": min(self.replicas),
            "most": max(self.replicas),
            "changes": self.changes,
            "turns": self.turns,
            "came": round(self.came),
            "refused": round(self.refused),
        }


def simulate(trace: Trace, kind: Kind, seed: int = 1, *, target: float = TARGET, on_cpu: bool = False) -> Run:
    """on_cpu: the autoscaler looks at the CPU that a pod uses, and not at its utilization."""
    random, run = Random(f"{seed} {trace.name} {kind.name}"), Run(trace, kind)
    unit = target * kind.capacity
    scaler = Autoscaler(target, behaviour=BEHAVIOUR)
    pods = [new_pod(kind, -60, START_SECONDS, 0, random) for _ in range(max(1, round(trace.load(0))))]
    for now in range(trace.step, trace.seconds + 1, trace.step):
        came = trace.load(now) * unit * trace.step
        came = max(random.gauss(came, came**0.5), 0.0)
        ready = [pod for pod in pods if pod.ready <= now]
        run.came += came
        run.refused += _serve(ready, now, trace, came, random)
        for pod in ready:
            if (now - pod.scraped) % SCRAPE_SECONDS < trace.step:
                pod.scrape()
        if now % SYNC_SECONDS == 0:
            wanted = scaler.wanted(now, len(pods), [pod.cpu if on_cpu else pod.metric for pod in pods])
            pods = pods[:wanted]  # the youngest go first
            missing = range(wanted - len(pods))
            pods += [new_pod(kind, now, START_SECONDS, SCHEDULING_SECONDS, random) for _ in missing]
        run.times.append(now)
        run.load.append(trace.load(now))
        run.replicas.append(len(pods))
    return run


def _serve(ready: Iterable[Pod], now: float, trace: Trace, came: float, random: Random) -> float:
    """Honest requests that are refused."""
    weights = [(pod, random.uniform(1 - UNEVEN, 1 + UNEVEN)) for pod in ready]
    whole = sum(weight for _, weight in weights)
    attack = trace.attack(now)
    return sum(pod.step(now, trace.step, came * weight / whole, attack) for pod, weight in weights)
