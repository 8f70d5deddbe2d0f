"""`python -m loadtests.alerts`: the alerting rules as they are, on a real Prometheus and real servers.

tests/deploy/prometheus/test_live.py does the same in seconds, with ranges of a sixtieth.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from loadtests.tools import machine, results
from loadtests.tools.results import Bar, table
from modelward.admin.messages import SERVICE, message
from modelward.audit.trail import MOST_WAITING
from scripts.dashboards.boards import BOARDS
from tests import models
from tests.deploy.prometheus.promtool import PROMETHEUS
from tests.deploy.prometheus.real import Variant, milliseconds, variant
from tests.deploy.prometheus.scene import Scene, on
from tests.deploy.prometheus.test_live import EVERY, numbers
from tests.deploy.prometheus.test_rules import ALERTS, RULES
from tests.store import HOW, KINDS
from tests.support import ServerProcess

MINUTES = 25.0
QUIET_MINUTES = 15.0
PACE_SECONDS = 0.5
EACH = "5s"
ROUNDS, AT_ONCE = 32, 8  # calls of operators
BEGIN_MINUTES = 2.0  # until causes have their effect

METHOD = f"""\
Prometheus scrapes six servers every five seconds and evaluates `deploy/prometheus/rules.yaml` as often. One server
is in order, also while its clients make mistakes; five are not: models fail, are late, shed, drift and crash, a
version is taken back, files change, stores and a server are gone, a trail cannot be written. An alert comes after its
cause has lasted for as long as its rule says; one that would come later is told. Every query of every dashboard is
asked at the end. At least {QUIET_MINUTES:g} minutes are watched."""


def in_time(minutes: float) -> set[Variant]:
    """Alerts that come within so many minutes. All have a cause."""
    lasts = {variant(rule["alert"], rule["labels"]): _milliseconds(rule) for rule in ALERTS}
    return {each for each in EVERY if lasts[each] <= (minutes - BEGIN_MINUTES) * 60_000}


def _milliseconds(rule: Mapping[str, str]) -> int:
    """Until the cause raises it on a new Prometheus, which takes servers that it has just found for ones that were
    added."""
    before = re.findall(r"\bdelta\([^[]+\[(\w+)\]", rule["expr"])
    return milliseconds(rule.get("for", "0s")) + sum(map(milliseconds, before))


@dataclass
class Outcome:
    """expected: to be raised. raised: seconds after the causes, by alert. quiet: alerts of the server that is in order.
    empty: queries without data, of so many."""

    expected: set[Variant]
    raised: dict[Variant, float] = field(default_factory=dict)
    quiet: set[str] = field(default_factory=set)
    minutes: float = 0.0
    queries: int = 0
    empty: list[str] = field(default_factory=list)


def watch(scene: Scene, minutes: float) -> Outcome:
    outcome, began = Outcome(in_time(minutes)), time.monotonic()
    while (now := time.monotonic() - began) < minutes * 60:
        scene.traffic()
        for alert in scene.prometheus.firing():
            if alert.labels["job"] == "quiet":
                outcome.quiet.add(alert.name)
            else:
                outcome.raised.setdefault(alert.variant, now)
        outcome.minutes = now / 60
        if outcome.minutes >= QUIET_MINUTES and outcome.raised.keys() >= outcome.expected:
            break
        time.sleep(PACE_SECONDS)
    for name, board in BOARDS.items():
        for panel in (panel for row in board.rows for panel in row.panels):
            for query in panel.queries:
                outcome.queries += 1
                if not numbers(scene, query):
                    outcome.empty.append(f"{name}: {panel.title}")
    return outcome


def ask_in_vain(server: ServerProcess, repository: Path) -> None:
    """As operators, for what is not done since it cannot be recorded, until there is no room in line. Then something is
    to be recorded that no operator does."""
    asked = message("RollbackRequest", model="add", break_glass=True, reason="a test")
    answered = message("PromotionResponse")
    with grpc.insecure_channel(server.admin) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Rollback", type(asked).SerializeToString, type(answered).FromString)
        while server.metric("modelward_audit_waiting") < MOST_WAITING + 64:  # of these some are in the writer's hands
            for _ in range(ROUNDS):
                for each in [call.future(asked) for _ in range(AT_ONCE)]:
                    each.result()
    models.repository(repository, {"late": b"no model"})


def words(each: Variant) -> str:
    return " ".join(filter(None, each))


def report(outcome: Outcome) -> tuple[str, list[Bar]]:
    rows = [(words(each), f"{seconds:.0f} s") for each, seconds in _by_time(outcome)]
    missing = outcome.expected - outcome.raised.keys()
    later = EVERY - outcome.expected - outcome.raised.keys()
    bars = [
        Bar("alerts that had a cause and did not fire", len(missing), 0, "alerts"),
        Bar("alerts of the server that is in order", len(outcome.quiet), 0, "alerts"),
        Bar("minutes that were watched", outcome.minutes, QUIET_MINUTES, "min", at_most=False),
        Bar("queries of dashboards without data", len(outcome.empty), 0, f"of {outcome.queries}"),
    ]
    told = [
        *(f"not raised: {words(each)}" for each in sorted(missing)),
        *(f"not raised so soon: {words(each)}" for each in sorted(later)),
    ]
    lines = [table(("alert", "raised after"), rows), *told, *outcome.empty, *map(str, bars)]
    return "\n\n".join((lines[0], "\n".join(f"- {line}" for line in lines[1:]))), bars


def _by_time(outcome: Outcome) -> list[tuple[Variant, float]]:
    return sorted(outcome.raised.items(), key=lambda each: each[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.alerts", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="at most (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="replace the files in loadtests/results")
    arguments = parser.parse_args()
    if PROMETHEUS is None or not any(map(shutil.which, KINDS)):
        print(f"Prometheus or a store is not installed: scripts/peers prometheus; {HOW}")
        return 1
    with tempfile.TemporaryDirectory() as folder, on(Path(folder), RULES.read_text(), EACH) as scene:
        scene.traffic()
        scene.causes()
        asking = scene.threads.submit(ask_in_vain, scene.kept, Path(folder) / "kept")
        outcome = watch(scene, arguments.minutes)
        asking.result()
    body, bars = report(outcome)
    print(body)
    if arguments.write:
        data = {
            "raised": {words(each): seconds for each, seconds in _by_time(outcome)},
            "quiet": sorted(outcome.quiet),
            "minutes": outcome.minutes,
        }
        facts, command = machine.facts(), machine.command("loadtests.alerts")
        results.write("alerts", results.document("Alerts", METHOD, facts, command, body), data)
    return 0 if all(bar.reached for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
