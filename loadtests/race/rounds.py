"""The race itself: rounds alternate over every contestant, so that what the machine does meanwhile hits all alike."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.race.contestant import Absent, Contestant, Running, WrongAnswer, check, request
from loadtests.tools import client, h2load
from loadtests.tools.h2load import Shape
from loadtests.tools.process import free_ports

WARM_UP_ROUNDS = 1
FEWEST_REQUESTS = 20

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Sample:
    """One round of one contestant. cpu_us: CPU time of its process tree per request."""

    cpu_us: float
    per_second: float
    latency_us: float


@dataclass
class Lane:
    """One contestant and what was measured of it."""

    contestant: Contestant
    running: Running
    samples: dict[Shape, list[Sample]] = field(default_factory=dict)

    def median(self, shape: Shape) -> Sample:
        of = self.samples[shape]
        return Sample(
            statistics.median(s.cpu_us for s in of),
            statistics.median(s.per_second for s in of),
            statistics.median(s.latency_us for s in of),
        )

    def spread(self, shape: Shape) -> tuple[float, float]:
        """Lowest and highest CPU time per request."""
        figures = [sample.cpu_us for sample in self.samples[shape]]
        return min(figures), max(figures)


@contextmanager
def lined_up(contestants: Sequence[Contestant], trust: bytes | None = None) -> Iterator[list[Lane]]:
    """Starts those that can run here, all of them at once; says of the others why they do not.

    trust: PEM of the authority of their certificates, where they speak TLS.
    """
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelward-race-")))
        lanes = []
        for i, contestant in enumerate(contestants):
            folder = root / str(i)
            folder.mkdir()
            try:
                start = contestant.prepare(folder)
            except Absent as reason:
                print(f"{contestant.name} does not race: {reason}", file=sys.stderr)
                continue
            port = free_ports(1)[0]
            process = stack.enter_context(start(port))
            client.wait_until_answered(port, request(), process, trust=trust)
            metadata = contestant.metadata(folder)
            size = check(contestant, port, trust, metadata)
            lanes.append(Lane(contestant, Running(process, port, size, trust, metadata)))
        yield lanes


def run(lanes: Sequence[Lane], requests: dict[Shape, int], rounds: int, progress: Progress = lambda what: None) -> None:
    """Fills the lanes with `rounds` samples per shape, after a warm-up round; every second round goes backwards.

    requests: how many a contestant of share 1 gets in one round. Raises WrongAnswer, h2load.LoadFailed.
    """
    with tempfile.NamedTemporaryFile() as body:
        Path(body.name).write_bytes(client.framed(request()))
        for shape, count in requests.items():
            for number in range(WARM_UP_ROUNDS + rounds):
                for lane in lanes if number % 2 == 0 else reversed(lanes):
                    progress(f"{shape}, round {number} of {rounds}: {lane.contestant.name}")
                    sample = _sample(lane, Path(body.name), shape, count)
                    if number >= WARM_UP_ROUNDS:
                        lane.samples.setdefault(shape, []).append(sample)
    for lane in lanes:
        check(lane.contestant, lane.running.port, lane.running.trust, lane.running.metadata)


def _sample(lane: Lane, body: Path, shape: Shape, count: int) -> Sample:
    running = lane.running
    requests = max(FEWEST_REQUESTS, round(count * lane.contestant.share))
    headers = [f"{name}: {value}" for name, value in running.metadata]
    before = running.process.cpu_ns()
    load = h2load.run(running.port, body, requests, shape, headers, secure=running.trust is not None)
    spent = running.process.cpu_ns() - before
    if load.data_bytes != requests * running.answer_bytes:
        raise WrongAnswer(
            f"{lane.contestant.name}: {load.data_bytes} bytes of answers to {requests} requests, "
            f"and each answer has {running.answer_bytes}"
        )
    return Sample(spent / requests / 1e3, load.per_second, load.mean_latency_us)
