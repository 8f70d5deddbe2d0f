"""`python -m loadtests.audit_kills`: supervisor and workers are killed while operators act; is each action recorded?"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import yaml
from rich.console import Console
from rich.progress import Progress

from loadtests.tools import machine, results
from loadtests.tools.process import free_ports, tree
from loadtests.tools.results import Bar, table
from modelward.audit import key
from modelward.audit.files import CHECKPOINT, LogReader
from modelward.audit.note import Note
from modelward.audit.verify import checked, verify
from modelward.cli.admin import Client
from modelward.config.address import Address
from modelward.problem import ProblemsFound
from tests import models
from tests.models import repository

KILLS = 200
CLIENTS = 4
WORKERS = 2
SUPERVISORS = 0.3  # of the kills
PAUSE_SECONDS = (0.0, 0.4)  # between the server's being ready and a kill
START_SECONDS = 60.0
CALL_SECONDS = 20.0
DONE, REFUSED, UNKNOWN = "done", "refused", "unknown"

METHOD = f"""\
`modelward serve` with {WORKERS} workers and an audit trail in files. {CLIENTS} operators, each with a model of their
own, promote a version and roll it back again and again over the admin API; each action has a reason like no other.
Meanwhile the supervisor, with which its workers end, or one worker is killed with SIGKILL, at any moment; a supervisor
is started again with the same state. What an operator was answered is compared with the trail in the end: an action
that was answered is in it once with what came of it, one whose answer was lost at most once. `verify` has to find the
log whole, and a continuation of every checkpoint that was copied away before a kill."""


@dataclass
class Actions:
    """What operators asked for, by the reason that tells them apart: (verb, what they were answered)."""

    asked: dict[str, tuple[str, str]] = field(default_factory=dict)

    def count(self, answer: str) -> int:
        return sum(found == answer for _, found in list(self.asked.values()))


class Supervisor:
    """Started, killed and started again."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._config = folder / "config.yaml"
        self._output = (folder / "output").open("wb")
        self._admin = Address(path=str(folder / "admin.sock"))
        self._process: subprocess.Popen[bytes] | None = None
        port, http = free_ports(2)
        listen = {"grpc": f"127.0.0.1:{port}", "http": f"127.0.0.1:{http}", "admin": str(self._admin)}
        self._config.write_text(yaml.safe_dump({"listen": listen, "workers": WORKERS, **settings}))

    @contextmanager
    def client(self) -> Iterator[Client]:
        with closing(grpc.insecure_channel(str(self._admin), [("grpc.use_local_subchannel_pool", 1)])) as channel:
            yield Client(self._admin, channel)

    def start(self) -> None:
        command = [sys.executable, "-m", "modelward", "serve", "--config", str(self._config), "--log-level", "warning"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Raises TimeoutError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                raise TimeoutError(f"the server ended with {self._process.returncode}")
            with suppress(ProblemsFound), self.client() as client:
                status: Any = client.call("Status", 5.0)
                if status.state == "ready" and sum(each.state == "ready" for each in status.workers) == WORKERS:
                    return
            time.sleep(0.05)
        raise TimeoutError("the server was not ready in time")

    def kill(self) -> None:
        """With its workers, which end when it is gone."""
        assert self._process is not None
        family = []
        for pid in tree(self._process.pid)[1:]:
            with suppress(ProcessLookupError):  # one that was killed before
                family.append(os.pidfd_open(pid))
        self._process.kill()
        self._process.wait()
        for handle in family:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)

    def kill_a_worker(self, rng: random.Random) -> None:
        assert self._process is not None
        if workers := tree(self._process.pid)[1:]:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()


def operate(supervisor: Supervisor, model: str, actions: Actions, ended: threading.Event) -> None:
    """One operator: a promotion, taken back, and so on."""
    promotes = True
    while not ended.is_set():
        with supervisor.client() as client:
            while not ended.is_set():
                reason = uuid.uuid4().hex
                verb = "force" if promotes else "rollback"
                actions.asked[reason] = verb, UNKNOWN
                try:
                    if promotes:
                        given = {"version": "2", "steps": [50, 100], "force": reason}
                        answer: Any = client.call("Promote", CALL_SECONDS, model=model, **given)
                    else:
                        answer = client.call("Rollback", CALL_SECONDS, model=model, reason=reason)
                except ProblemsFound:
                    time.sleep(0.2)
                    break  # by another connection
                actions.asked[reason] = verb, REFUSED if answer.problems else DONE
                promotes = not promotes


@dataclass(frozen=True)
class Judged:
    """Actions that were answered and are not in the trail as they should be; those that are in it twice."""

    missing: int
    twice: int
    findings: tuple[str, ...]
    records: int


def judge(folder: Path, actions: Actions, remembered: list[bytes]) -> Judged:
    verifier, reader = key.public_key(folder), LogReader(folder / "log")
    kept = {checked(Note.parse(each), verifier) for each in remembered}
    found = verify(reader, verifier, tuple(sorted(kept, key=lambda each: each.size)))
    records = [json.loads(each) for each in reader.records(0, found.checkpoint.size if found.checkpoint else 0)]
    asked: dict[str, list[dict[str, Any]]] = {}
    outcomes: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        if record["kind"] == "human" and record["result"] == "asked":
            asked.setdefault(record.get("reason", ""), []).append(record)
        elif "of" in record:
            outcomes.setdefault(record["of"], []).append(record)
    missing, twice = 0, 0
    for reason, (verb, answer) in actions.asked.items():
        same = asked.get(reason, [])
        results = [each["result"] for record in same for each in outcomes.get(record["n"], [])]
        twice += len(same) > 1 or len(results) > 1
        if answer != UNKNOWN:
            missing += [each["verb"] for each in same] != [verb] or results != [answer]
    return Judged(missing, twice, tuple(each.what for each in found.findings), len(records))


def main() -> int:
    """0 if every answered action is in the trail once, and the log is whole."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.audit_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    rng, actions, killed = random.Random(arguments.seed), Actions(), Counter[str]()
    remembered: list[bytes] = []
    with tempfile.TemporaryDirectory() as name, Progress(console=Console(stderr=True)) as progress:
        folder = Path(name)
        names = [f"model-{i}" for i in range(CLIENTS)]
        versions = {each: {1: models.add_one(), 2: models.add_one_below(100)} for each in names}
        settings = {
            "repository": str(repository(folder / "models", versions)),
            "models": {each: {"versions": {"1": 1}} for each in names},
            "state": str(folder / "state"),
            "audit": {"folder": str(folder / "audit")},
        }
        supervisor, ended = Supervisor(folder, settings), threading.Event()
        began = time.monotonic()
        supervisor.start()
        operators = [
            threading.Thread(target=operate, args=(supervisor, each, actions, ended), daemon=True) for each in names
        ]
        for operator in operators:
            operator.start()
        try:
            for _ in progress.track(range(arguments.kills), description="killing"):
                done = actions.count(DONE)
                deadline = time.monotonic() + START_SECONDS
                while actions.count(DONE) == done and time.monotonic() < deadline:
                    time.sleep(0.01)
                time.sleep(rng.uniform(*PAUSE_SECONDS))
                remembered.append((folder / "audit" / "log" / CHECKPOINT).read_bytes())
                if rng.random() < SUPERVISORS:
                    killed["supervisor"] += 1
                    supervisor.kill()
                    supervisor.start()
                else:
                    killed["worker"] += 1
                    supervisor.kill_a_worker(rng)
        finally:
            ended.set()
            for operator in operators:
                operator.join(2 * CALL_SECONDS)
            supervisor.end()
        took = time.monotonic() - began
        judged = judge(folder / "audit", actions, remembered)
    answered = actions.count(DONE)
    bars = [
        Bar("answered actions that are not in the trail as they were answered", judged.missing, 0, ""),
        Bar("actions that are in the trail twice", judged.twice, 0, ""),
        Bar("findings of verify", len(judged.findings), 0, ""),
        Bar("actions that were done", answered, arguments.kills, "", at_most=False),
    ]
    rows = [
        ("supervisors killed", killed["supervisor"]),
        ("workers killed", killed["worker"]),
        ("actions done", answered),
        ("actions refused", actions.count(REFUSED)),
        ("calls not answered", actions.count(UNKNOWN)),
        ("records", judged.records),
        ("checkpoints remembered", len(remembered)),
        ("seconds", round(took)),
    ]
    body = "\n\n".join([
        table(("", "count"), [(what, f"{count:,}") for what, count in rows]),
        "\n".join(f"- {bar}" for bar in bars),
        *judged.findings,
    ])  # fmt: skip
    print(body)
    if arguments.write:
        facts, command = machine.facts(), machine.command("loadtests.audit_kills")
        data = {**facts, **dict(rows), "bars": {bar.name: bar.figure for bar in bars}}
        results.write(
            "audit-kills", results.document("The audit trail under kill -9", METHOD, facts, command, body), data
        )
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
