"""Servers: one is in order, one has everything go wrong, two have one name, one has lost its trail, one ends."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from tests import models
from tests.commands import modelward
from tests.deploy.prometheus import servers
from tests.deploy.prometheus.crowd import crowd
from tests.deploy.prometheus.real import SCRAPED_EACH, Prometheus, scraping
from tests.deploy.prometheus.servers import BAD, GOOD, TEAM
from tests.e2e.messages import Array, Stub, request
from tests.e2e.raw_upstream import raw_upstream
from tests.e2e.test_canaries import X, damage
from tests.store import Store, running
from tests.support import ServerProcess, serve_process, serve_processes

REMEMBERED = 1 << 20  # callers, by a server
HELD = 2
DEADLY = {"a": np.full((1, 3), np.iinfo(np.int64).min), "b": np.full((1, 3), -1, np.int64)}


@dataclass
class Scene:
    """doomed: a store that is killed with the causes. folder: where servers keep what they have."""

    prometheus: Prometheus
    quiet: ServerProcess
    troubled: ServerProcess
    ending: ServerProcess
    kept: ServerProcess
    doomed: Store
    folder: Path
    key: str
    stubs: dict[str, Stub]
    held: list[grpc.Future]
    threads: ThreadPoolExecutor
    crowd: Future[None]
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
        self.ask(self.troubled, "failing", BAD, 2)
        self.ask(self.troubled, "near", GOOD, 2)
        self.ask(self.troubled, "nothing", GOOD)
        self.ask(self.troubled, "canaried", X)
        self.ask(self.troubled, "add", GOOD, key="wrong")
        self.ask(self.troubled, "mine", GOOD, key=self.key)
        self.at_once("slow", GOOD, 6)
        self.held = holding(self.stubs[self.kept.grpc], self.held)

    def causes(self) -> None:
        """What goes wrong once."""
        self.ending.signal_all(signal.SIGKILL)
        admin = ("--admin", self.troubled.admin)
        promoted = modelward("promote", "add", "2", "--steps", "50,100", "--force", "--reason", "a test", *admin)
        assert promoted.returncode == 0, promoted.stderr
        restricted = modelward("identities", "restrict", TEAM, "--model", "capped", "--step", "round", *admin)
        assert restricted.returncode == 0, restricted.stderr
        (self.folder / "troubled.yaml").write_text("workerz: 2\n")
        assert modelward("reload", *admin).returncode == 1, "no such key"
        models.repository(self.folder / "kept", {"broken": b"no model"})
        glass = ("--force", "--break-glass", "--reason", "a test", "--admin", self.kept.admin)
        broken = modelward("promote", "add", "2", "--steps", "100", *glass)
        assert broken.returncode == 0, broken.stderr
        twin = self.folder / "one"
        assert modelward("status", "--admin", f"unix:{twin}.sock").returncode == 1, "no operator there"
        in_the_way(self.folder / "models-state")
        in_the_way(self.folder / "trail" / "log")
        refused = modelward("rollback", "add", "--break-glass", "--reason", "a test", "--admin", self.kept.admin)
        assert "the audit trail cannot be written" in refused.stderr, refused
        changed = twin / "changed" / "1" / "model.onnx"
        changed.write_bytes(changed.read_bytes() + b"\0")
        self.doomed.kill()
        damage(self.troubled.workers()[0], 1)
        with contextlib.suppress(grpc.RpcError):
            self.stubs[self.troubled.grpc].infer(request("div", DEADLY))


def holding(stub: Stub, held: Iterable[grpc.Future] = ()) -> list[grpc.Future]:
    """Requests that are not answered, so that a model has no permit left, and one waits for it. held: those of before,
    which the server resets in the end."""
    waiting = [each for each in held if not each.done()]
    asked = request("silent", {"x": GOOD})
    return waiting + [stub.future(asked, timeout=None) for _ in range(HELD - len(waiting))]


def in_the_way(folder: Path) -> None:
    """A file in its place, so that nothing can be written there."""
    folder.rename(folder.with_name(f"{folder.name}-aside"))
    folder.write_text("in the way")


@contextlib.contextmanager
def on(folder: Path, rules: str, each: str = SCRAPED_EACH) -> Iterator[Scene]:
    """rules: of Prometheus, which scrapes and evaluates each time that has passed."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = folder / "keys.json"
    key = modelward("token", "add", TEAM, "--file", keys).stdout.strip()
    with contextlib.ExitStack() as stack:
        stores = []
        for name in ("store", "doomed"):
            (folder / name).mkdir()
            stores.append(stack.enter_context(running(folder / name)))
        store, doomed = stores
        silent = stack.enter_context(raw_upstream(lambda _: None))
        quiet, ending, kept, one, other = stack.enter_context(
            serve_processes(
                servers.quiet(folder, store.url),
                servers.ending(folder),
                servers.kept(folder, doomed.url, silent.address),
                servers.twin(folder, "one", store.url, days=1),
                servers.twin(folder, "other", store.url, days=10),
            )
        )
        threads = stack.enter_context(ThreadPoolExecutor())
        work = threads.submit(crowd, kept.grpc, "add", int(0.95 * REMEMBERED))
        stubs = {kept.grpc: stack.enter_context(Stub(kept.grpc))}
        held = holding(stubs[kept.grpc])
        upstreams = {"sound": quiet.grpc, "failing": kept.grpc}
        troubled = stack.enter_context(serve_process(*servers.troubled(folder, keys, doomed.url, **upstreams)))
        stubs |= {server.grpc: stack.enter_context(Stub(server.grpc)) for server in (quiet, troubled)}
        jobs = {"quiet": [quiet.http], "troubled": [each.http for each in (troubled, ending, kept, one, other)]}
        prometheus = stack.enter_context(scraping(folder / "prometheus", jobs, rules, each=each))
        yield Scene(prometheus, quiet, troubled, ending, kept, doomed, folder, key, stubs, held, threads, work)
