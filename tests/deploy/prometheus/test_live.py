"""Rules and dashboards on a real Prometheus that scrapes real servers, of which one is in order and the others are not.

Ranges of the rules, and the times that causes must last, are a sixtieth: 5 s for 5 minutes, and no cause must last for
more than 10 s. `make bench-alerts` takes them as they are.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator

import pytest

from scripts.dashboards.board import RATE, Query
from scripts.dashboards.boards import BOARDS
from tests import store
from tests.deploy.prometheus.promtool import needs_prometheus
from tests.deploy.prometheus.real import Variant, shortened, variant
from tests.deploy.prometheus.scene import Scene, on
from tests.deploy.prometheus.test_rules import ALERTS, RULES

FASTER = 60
LONGEST_FOR = "10s"
QUIET_SECONDS = 15 * 60 / FASTER
LONGEST_SECONDS = 180.0  # on a machine that does much else
EVERY = {variant(rule["alert"], rule["labels"]) for rule in ALERTS}
# With why they are raised by `make bench-alerts` alone, and here by promtool's series.
IN_MINUTES = {
    Variant("ModelwardAuditRecordsLost", "critical"): "4,096 records must wait, of 2 ms of CPU each",
}
CAUSED = EVERY - IN_MINUTES.keys()
pytestmark = [
    needs_prometheus,
    pytest.mark.skipif(not any(map(shutil.which, store.KINDS)), reason=f"there is no store: {store.HOW}"),
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with on(tmp_path_factory.mktemp("scene"), shortened(RULES.read_text(), FASTER, LONGEST_FOR)) as scene:
        scene.traffic()
        scene.causes()
        yield scene


def test_each_alert_fires_for_servers_that_have_its_cause_and_none_for_one_that_is_in_order(scene: Scene) -> None:
    began, seen, where = time.monotonic(), set[Variant](), set[tuple[str, str]]()
    while (missing := CAUSED - seen) or time.monotonic() < began + QUIET_SECONDS:
        assert time.monotonic() < began + LONGEST_SECONDS, f"not raised: {sorted(missing)}"
        scene.traffic()
        alerts = scene.prometheus.firing()
        assert not [alert for alert in alerts if alert.labels["job"] == "quiet"]
        seen |= {alert.variant for alert in alerts}
        where |= {(alert.name, alert.labels.get("instance", "")) for alert in alerts}
        texts = [text for alert in alerts for text in alert.texts.values()]
        assert not [text for text in texts if "<error" in text or "<no value>" in text]
    assert scene.prometheus.broken_rules() == []
    scene.crowd.result()
    broken = {at for name, at in where if name == "ModelwardModelsRefused"}
    refused = {at for name, at in where if name == "ModelwardReloadRefused"}
    assert scene.kept.http in broken - refused, "a broken model is no refused configuration"
    assert refused == {scene.troubled.http}


def test_every_alert_is_caused_here_or_has_a_reason_why_it_takes_minutes() -> None:
    assert len(EVERY) == len(ALERTS), "rules of one alert differ in severity or window"
    assert IN_MINUTES.keys() < EVERY


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_of_a_dashboard_returns_data(scene: Scene, name: str) -> None:
    queries = {(panel.title, each) for row in BOARDS[name].rows for panel in row.panels for each in panel.queries}
    until = time.monotonic() + LONGEST_SECONDS
    while queries and time.monotonic() < until:
        scene.traffic()
        queries = {(title, each) for title, each in queries if not numbers(scene, each)}
    assert not {(title, each.legend) for title, each in queries}


def numbers(scene: Scene, query: Query) -> list[float]:
    """What a panel shows with everything chosen, but for what is no number."""
    expression = query.expression.replace(RATE, "20s").replace("[1h]", "[60s]")
    for variable in ("job", "instance", "model", "identity"):
        expression = expression.replace(f"${variable}", ".*")
    assert "$" not in expression
    values = [float(each["value"][1]) for each in scene.prometheus.query(expression)]
    return [value for value in values if not math.isnan(value)]
