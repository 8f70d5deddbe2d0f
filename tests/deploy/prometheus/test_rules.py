"""The rules as Prometheus reads them: valid, quiet while nothing is wrong, and each alert raised by what it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from modelward.config.objective import BOUNDS
from modelward.status import Code
from modelward.telemetry.metrics.table import families
from modelward_native.request.verdict import reasons
from modelward_native.telemetry.histogram import BOUNDS as BUCKETS
from scripts.docs import DOCS, ROOT
from scripts.docs.metrics import complete
from tests.deploy.prometheus.cases import CASES, QUIET, unit_tests
from tests.deploy.prometheus.promtool import needs_prometheus, promtool

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
EVERY = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in EVERY if "alert" in rule]
SERVERS_FAULT = {
    "BACKEND_FAILED", "CANARY", "DEADLINE", "INFEASIBLE", "NO_UPSTREAM", "NO_VERSION", "OUTPUT_GUARD", "QUEUE_FULL",
    "SHED", "UPSTREAM_CREDENTIALS", "UPSTREAM_LOST",
}  # fmt: skip
# what a limit, a mistake of the client or the evidence against it ends, and what one caller can bring about alone
CALLERS_OWN = {
    "PEER_LIMIT", "IDENTITY_LIMIT", "MODEL_LIMIT", "TOTAL_LIMIT", "MESSAGE_TOO_LARGE", "INFLATED_TOO_LARGE",
    "INFLIGHT_BYTES", "MALFORMED_FRAMING", "MALFORMED_MESSAGE", "MALFORMED_TIMEOUT", "UNSUPPORTED_ENCODING",
    "HEADERS_TOO_LARGE",
    "UNKNOWN_METHOD", "UNKNOWN_MODEL", "UNKNOWN_VERSION", "INVALID_INPUT", "UNSUPPORTED_FEATURE", "ANOMALY",
    "SLOW_REQUEST", "RUN_MEMORY", "OUT_OF_MEMORY", "UNAUTHENTICATED", "PERMISSION_DENIED", "CREDENTIALS_LIMIT",
    "ACCESS_BUSY",
    "ACCESS_UNAVAILABLE", "CRASH", "RELAYED_STREAMS", "REQUEST_CARDINALITY", "RESTRICTED", "OUTPUT_BUDGET",
}  # fmt: skip


def expression(record: str) -> str:
    return next(rule["expr"] for rule in EVERY if rule.get("record") == record)


@needs_prometheus
def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    code, said = promtool("check", "rules", "--lint-fatal", str(RULES))
    assert (code, "SUCCESS" in said) == (0, True), said


@needs_prometheus
@pytest.mark.parametrize("hours", [False, True])
def test_each_alert_is_raised_by_its_cause_and_none_in_twenty_quiet_minutes_before(tmp_path: Path, hours: bool) -> None:
    tests = tmp_path / "tests.yaml"
    tests.write_text(
        yaml.safe_dump(unit_tests(str(RULES), [group["name"] for group in GROUPS], hours=hours), width=1000)
    )
    code, said = promtool("test", "rules", str(tests))
    assert code == 0, said


def test_there_is_a_case_for_each_alert() -> None:
    raised = {alert for case in CASES.values() for alert in case.alerts}
    named = {" ".join(filter(None, (rule["alert"], rule["labels"].get("window")))) for rule in ALERTS}
    assert raised == named


def test_each_alert_has_a_severity_a_summary_a_description_and_a_page_that_is_there() -> None:
    page = (DOCS / "how-to" / "alerts.md").read_text()
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()
        assert rule["annotations"]["runbook_url"] == f"https://modelward.example/how-to/alerts/#{rule['alert'].lower()}"
        assert f"\n## {rule['alert']}\n" in page, rule["alert"]
    assert set(re.findall(r"^## (Modelward\w+)$", page, re.MULTILINE)) == {rule["alert"] for rule in ALERTS}


def test_texts_name_only_labels_that_the_alert_has() -> None:
    shown = labels_by_name()
    for rule in ALERTS:
        named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        if grouped := re.search(r"\b(?:by|on) \(([^)]+)\)", rule["expr"]):
            assert named <= set(grouped[1].split(", ")), rule["alert"]
        else:
            metric = re.search(r"modelward_\w+", rule["expr"])[0]
            assert named <= shown[metric] | {"instance"}, rule["alert"]


def test_each_metric_of_the_rules_and_of_their_cases_is_exposed_with_its_labels() -> None:
    shown = labels_by_name()
    texts = [rule["expr"] for rule in EVERY]
    for text in [*texts, *QUIET]:
        for name, matchers in re.findall(r"(?<![:\w])(modelward_\w+)(?:\{([^}]*)\})?(?!\w*:)", text):
            assert name in shown, name
            used = set(re.findall(r"(\w+)=", matchers)) - {"job", "instance"}
            assert used <= shown[name], (name, used)


def test_each_reason_is_either_the_servers_fault_or_the_callers_own() -> None:
    assert reasons().keys() - {"NONE"} == SERVERS_FAULT | CALLERS_OWN
    assert not SERVERS_FAULT & CALLERS_OWN
    counted = re.search(r'reason=~"([^"]+)"', expression("instance_model:modelward_failures:total"))[1]
    assert set(counted.split("|")) == SERVERS_FAULT


def test_failures_are_a_part_of_the_requests_that_the_server_owes() -> None:
    codes = re.search(r'code=~"([^"]+)"', expression("instance_model:modelward_owed:total"))[1].split("|")
    assert {Code(reasons()[reason]).name for reason in SERVERS_FAULT} == {*codes} - {"OK"}


def test_an_objective_for_latency_is_a_bound_of_a_bucket() -> None:
    assert BOUNDS == BUCKETS


def labels_by_name() -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in families(complete()):
        labels: set[str] = {*family.labels}
        if family.kind == "histogram":
            found |= {f"{family.name}_{part}": labels for part in ("sum", "count")}
            found[f"{family.name}_bucket"] = labels | {"le"}
        else:
            found[f"{family.name}_total" if family.kind == "counter" else family.name] = labels
    return found
