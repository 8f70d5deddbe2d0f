"""Servers of which one is in order, one has everything go wrong, one has an old certificate and one ends."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import trustme

from modelward.score import Profile
from tests import models
from tests.certificates import write_pair
from tests.commands import modelward
from tests.deploy.prometheus.real import SCRAPED_EACH, Prometheus, scraping
from tests.e2e.messages import Array, Stub, request
from tests.e2e.test_canaries import X, adding, damage, weights
from tests.proxy.scanning.bad_models import PICKLE, with_metadata
from tests.store import KINDS, running
from tests.support import ServerProcess, serve_processes

# where nothing listens
NOWHERE = "127.0.0.1:9"
VALUE = "[{value: {y: [[0, 0, 0, 0]]}}]"
FOUR = "[{name: %s, datatype: FP32, shape: [-1, 4]}]"
GOOD = np.full((1, 4), 3, np.float32)
BAD = np.full((1, 4), 300, np.float32)  # add_one_below(100) fails on it
DEADLY = {"a": np.full((1, 3), np.iinfo(np.int64).min), "b": np.full((1, 3), -1, np.int64)}
TEAM = "team-a"


@dataclass
class Scene:
    prometheus: Prometheus
    quiet: ServerProcess
    troubled: ServerProcess
    ending: ServerProcess
    old: ServerProcess
    key: str
    stubs: dict[str, Stub] = field(default_factory=dict)
    rounds: int = 0

    def ask(self, server: ServerProcess, model: str, x: Array, times: int = 1, *, key: str = "", **options: str) -> int:
        """How many of so many requests were answered."""
        stub = self.stubs[server.grpc]
        metadata = (("x-api-key", key),) if key else None
        answered = 0
        for _ in range(times):
            with contextlib.suppress(grpc.RpcError):
                stub.infer(request(model, {"x": x}, **options), metadata=metadata)
                answered += 1
        return answered

    def at_once(self, model: str, x: Array, times: int) -> None:
        """So many requests at the same time, and their ends."""
        stub = self.stubs[self.troubled.grpc]
        for each in [stub.future(request(model, {"x": x})) for _ in range(times)]:
            each.exception()

    def traffic(self) -> None:
        """A few of every kind. What clients of the quiet server send is in order."""
        self.rounds += 1
        random = np.random.default_rng(self.rounds)
        strange = random.normal(size=(64, 4)).astype(np.float32) + (3 if self.rounds > 30 else 0)
        self.ask(self.quiet, "add", GOOD, 10)
        self.ask(self.quiet, "add", np.ones((1, 5), np.float32))
        self.ask(self.troubled, "add", GOOD, 20)
        self.ask(self.troubled, "add", BAD, 10)
        self.ask(self.troubled, "seen", GOOD, 4)
        self.ask(self.troubled, "seen", BAD, 4)
        self.ask(self.troubled, "bad", GOOD, 2)
        self.ask(self.troubled, "bad", BAD, 2)
        self.ask(self.troubled, "spare", BAD, 2)
        self.ask(self.troubled, "watched", strange, 2)
        self.ask(self.troubled, "watched", random.normal(size=(1, 4)).astype(np.float32), 3, key=self.key)
        self.ask(self.troubled, "capped", random.normal(size=(50, 4)).astype(np.float32), 2, key=self.key)
        self.ask(self.troubled, "capped", GOOD, 2)
        self.ask(self.troubled, "guarded", GOOD * 100)
        self.ask(self.troubled, "limited", GOOD, 2)
        self.ask(self.troubled, "remote", GOOD)
        self.ask(self.troubled, "far", GOOD, 2)
        self.ask(self.troubled, "near", GOOD, 2)
        self.ask(self.troubled, "nothing", GOOD)
        self.ask(self.troubled, "canaried", X)
        self.ask(self.troubled, "add", GOOD, key="wrong")
        self.ask(self.troubled, "mine", GOOD, key=self.key)
        self.at_once("slow", GOOD, 6)

    def causes(self) -> None:
        """What goes wrong once."""
        self.ending.signal_all(signal.SIGKILL)
        admin = ("--admin", self.troubled.admin)
        assert modelward("status", "--admin", self.old.admin).returncode == 1, "no operator there"
        promoted = modelward("promote", "add", "2", "--steps", "50,100", "--force", "--reason", "a test", *admin)
        assert promoted.returncode == 0, promoted.stderr
        held = modelward("identities", "restrict", TEAM, "--model", "capped", "--step", "round", *admin)
        assert held.returncode == 0, held.stderr
        assert modelward("reload", *admin).returncode == 1, "a model of the repository is broken"
        workers = self.troubled.workers()
        damage(workers[0], 1)
        with contextlib.suppress(grpc.RpcError):
            self.stubs[self.troubled.grpc].infer(request("div", DEADLY))


def _options(root: Path, *sets: str) -> list[str | Path]:
    return [root, *(word for each in (*sets, f"state={root}-state") for word in ("--set", each))]


def _repository(root: Path) -> Path:
    two = {1: models.add_one(), 2: models.add_one_below(100)}
    served = {
        "add": two,
        "seen": two,
        "bad": models.add_one_below(100),
        "spare": models.add_one_below(100),
        "div": models.dividing(),
        "slow": models.slow_loop(2000),
        "watched": models.add_one(),
        "capped": models.identity(),
        "guarded": models.add_one(),
        "mine": models.add_one(),
        "limited": models.add_one(),
        "canaried": adding(1),
        "odd": with_metadata(PICKLE),
        "broken": b"no model",
    }
    models.repository(root, served)
    np.savez(root / "canaried" / "1" / "canary.npz", **{"input:x": X, "output:y": X + weights(1)})
    rows = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    for name in ("watched", "capped"):
        Profile.fit({"x": rows}).save(root / name / "1" / "profile.npz")
    return root


def _troubled(folder: Path, keys: Path, upstream: str) -> list[str | Path]:
    canary = folder / "far.npz"
    np.savez(canary, **{"input:x": GOOD, "output:y": GOOD + 2})  # it answers with GOOD + 1
    signature = f"{{inputs: {FOUR % 'x'}, outputs: {FOUR % 'y'}}}"
    rules = "[{identity: '*', by: key, models: [watched, capped]}, {anonymous: true, models: ['*']}]"
    return _options(
        _repository(folder / "models"),
        "workers=2",
        f"access={{keys: {keys}, rules: {rules}}}",
        f"metrics.identities=[{TEAM}]",
        "audit={}",
        f"limits.shared=redis://{NOWHERE}/0",
        "limits.identity={rate: 1000/s}",
        "detection.identities=1024",
        "models.add={versions: {1: 1}, objective: {latency: 1us}, promotion: {bounds: {latency: 1000}}}",
        "models.seen={versions: {1: 1}, shadow: {version: 2, warmup: 0}}",
        f"models.spare.fallback={VALUE}",
        "models.slow={admission: {concurrency: 1, queue: 0}}",
        "models.watched={drift: {share: 1, false_alarms: 1 in 1000 requests}}",
        "models.limited.limit={rate: 1/s, burst: 2}",
        "models.capped={detection: {mode: act, budget: 100}, outputs: {y: {classes: true}}}",
        "models.guarded={outputs: {y: {range: [0, 1]}}}",
        "models.canaried.canary.interval=100ms",
        f"models.remote={{upstreams: ['{NOWHERE}'], signature: {signature}}}",
        f"models.near={{upstreams: ['{upstream}']}}",
        f"models.far={{upstreams: ['{upstream}'], canary: {{file: {canary}}}}}",
    )


def has_store() -> bool:
    return any(map(shutil.which, KINDS))


@contextlib.contextmanager
def _store(folder: Path) -> Iterator[list[str]]:
    """Settings with which a server shares its limits, where there is a store."""
    if not has_store():
        yield []
        return
    with running(folder) as store:
        yield [f"limits.shared={store.url}", "limits.total={rate: 100000/s}"]


@contextlib.contextmanager
def on(folder: Path, rules: str, each: str = SCRAPED_EACH) -> Iterator[Scene]:
    """rules: of Prometheus, which scrapes and evaluates each time that has passed."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = folder / "keys.json"
    key = modelward("token", "add", TEAM, "--file", keys).stdout.strip()
    served = {"add": models.add_one(), "far": models.add_one(), "near": models.add_one()}
    issued = trustme.CA().issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=1))
    pair = write_pair(issued, folder, "old")
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(_store(folder))
        quiet = _options(
            models.repository(folder / "quiet", served), "workers=2", "models.add.objective={latency: 10s}", *shared
        )
        ending = _options(models.repository(folder / "ending", served))
        nobody = "operators={bindings: [{user: nobody, roles: viewer}]}"
        tls = f"tls={{certificate: {pair.certificate}, key: {pair.key}}}"
        old = _options(
            models.repository(folder / "old", served),
            tls,
            nobody,
            f"listen.admin=unix:{folder / 'old.sock'}",
            f"fleet=redis://{NOWHERE}/0",
        )
        first, second, third = stack.enter_context(serve_processes(quiet, ending, old))
        (troubled,) = stack.enter_context(serve_processes(_troubled(folder, keys, first.grpc)))
        jobs = {
            "quiet": [first.http],
            "troubled": [troubled.http, second.http, third.http],
        }
        prometheus = stack.enter_context(scraping(folder / "prometheus", jobs, rules, each=each))
        scene = Scene(prometheus, first, troubled, second, third, key)
        for server in (first, troubled):
            scene.stubs[server.grpc] = stack.enter_context(Stub(server.grpc))
        yield scene
