"""Real servers that die and freeze under load: who is hit, for how long, and how soon everything is as before."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from tests.e2e.messages import INFER, request
from tests.e2e.test_upstreams import ROW, infer
from tests.models import add_one, repository
from tests.support import ServerProcess, serve_process, serve_processes, wait_until

CLIENTS = 64
RECOVERY_SECONDS = 5.0  # four of a frozen server's usual pauses, and what a busy machine takes to run us
WINDOW, WINDOWS = 1_000, 5  # requests that a p99 is taken of, and how often
# In usual p99s: so patient is each client.
DEADLINE = 20
# And no less: a busy machine may keep a process from running for a tenth of it.
DEADLINE_SECONDS = 1.0
# Clients and servers share the machine's cores: its scheduler alone moves the p99 of a few milliseconds by as much.
NOISE_SECONDS = 0.02


@dataclass(frozen=True)
class Outcome:
    """One request: when it began and ended (monotonic seconds), and its status."""

    began: float
    ended: float
    code: grpc.StatusCode

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass
class Load:
    """Clients that each send one request after the other, all on one thread."""

    address: str
    outcomes: list[Outcome] = field(default_factory=list)
    timeout: float = 5.0
    ending: bool = False

    async def run(self) -> None:
        async with grpc.aio.insecure_channel(self.address) as channel:
            infer = channel.unary_unary(INFER)
            await asyncio.gather(*(self._client(infer) for _ in range(CLIENTS)))

    async def _client(self, infer: grpc.aio.UnaryUnaryMultiCallable) -> None:
        message = request("add", {"x": ROW}).SerializeToString()
        while not self.ending:
            began, code = time.monotonic(), grpc.StatusCode.OK
            try:
                await infer(message, timeout=self.timeout)
            except grpc.RpcError as error:
                code = error.code()
            self.outcomes.append(Outcome(began, time.monotonic(), code))

    async def more(self, count: int) -> list[Outcome]:
        """The next `count` outcomes."""
        start = len(self.outcomes)
        async with asyncio.timeout(60):
            while len(self.outcomes) < start + count:
                await asyncio.sleep(0.01)
        return self.outcomes[start:]


def p99(outcomes: list[Outcome]) -> float:
    return statistics.quantiles([o.seconds for o in outcomes], n=100)[98]


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[ServerProcess]]:
    models = repository(tmp_path, {"add": add_one()})
    with serve_processes((models,), (models,), (models,)) as servers:
        yield servers


@pytest.mark.parametrize(
    "settings",
    [{}, {"hedging": "{budget: 0.1}"}, {"retries": "{unanswered: true}"}],
    ids=["alone", "hedged", "unanswered"],
)
def test_of_three_upstreams_one_is_killed_and_one_frozen(three: list[ServerProcess], settings: dict[str, str]) -> None:
    killed, frozen, _ = three
    sets = [f"models.add.upstreams=[{', '.join(s.grpc for s in three)}]", "breaker.ejection=1s"]
    sets += [f"models.add.{key}={value}" for key, value in settings.items()]
    with serve_process(*(part for text in sets for part in ("--set", text))) as server:

        def gone() -> bool:
            return not any(server.metric("modelward_upstream_available", endpoint=s.grpc) for s in (killed, frozen))

        async def outage() -> tuple[list[Outcome], float, list[Outcome], list[Outcome]]:
            clients = Load(server.grpc)
            running = asyncio.get_running_loop().create_task(clients.run())
            await clients.more(1_000)
            before = await clients.more(2 * WINDOW)
            clients.timeout = max(DEADLINE * p99(before), DEADLINE_SECONDS)
            await clients.more(CLIENTS)
            killed.signal_all(signal.SIGKILL)
            frozen.signal_all(signal.SIGSTOP)
            await asyncio.to_thread(wait_until, gone, "both to be left alone", RECOVERY_SECONDS)
            left_alone = time.monotonic()
            after = await clients.more(WINDOWS * WINDOW)
            clients.ending = True
            await running
            return before, left_alone, after, clients.outcomes

        before, left_alone, after, outcomes = asyncio.run(outage())
        assert server.metric("modelward_upstream_available", endpoint=frozen.grpc) == 0
        frozen.signal_all(signal.SIGCONT)
        for name in ("inflight", "upstream_inflight"):
            wait_until(lambda name=name: not server.metric(f"modelward_{name}"), f"an end of modelward_{name}")

        def is_back() -> bool:
            infer(server.grpc)
            return server.metric("modelward_upstream_available", endpoint=frozen.grpc) == 1

        wait_until(is_back, "requests for the one that was frozen")
    failed = [o for o in outcomes if o.code is not grpc.StatusCode.OK]
    dead = [o for o in failed if o.code is grpc.StatusCode.UNAVAILABLE]
    stuck = [o for o in failed if o.code is grpc.StatusCode.DEADLINE_EXCEEDED]
    assert len(failed) == len(dead) + len(stuck)
    if "retries" in settings:
        assert not failed
    # what was under way: one request of each client at most
    assert len(dead) <= CLIENTS
    assert len(stuck) <= CLIENTS
    assert all(o.began < left_alone for o in failed)
    # what else the machine does comes in bursts; harm that lasts is in every window
    assert (
        min(p99(after[at : at + WINDOW]) for at in range(0, WINDOWS * WINDOW, WINDOW)) < 2 * p99(before) + NOISE_SECONDS
    )
