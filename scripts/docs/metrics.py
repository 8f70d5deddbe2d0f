"""The page of metrics, from the collector: of a snapshot in which everything is there once."""

import types
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import fields, replace

from modelward.config.scan import SEVERITIES
from modelward.shadow.finding import Verdict
from modelward.telemetry.build import build
from modelward.telemetry.close_reasons import MEANING
from modelward.telemetry.metrics.family import Family
from modelward.telemetry.metrics.table import families
from modelward.telemetry.native_snapshot import ENDINGS, MISMATCHES, SIDES
from modelward.telemetry.snapshot import Histogram, Snapshot
from modelward_native.telemetry.stats import OUTCOME_NAMES
from modelward_native.wire.close_reason import CLOSED, REFUSED
from scripts.docs import markdown

INTRODUCTION = """
`listen.http` answers `/metrics` in the Prometheus text format or in OpenMetrics: the scraper chooses. Counters end in
`_total`. A histogram has `_bucket`, `_sum` and `_count`.

Labels come from closed sets: names of configured models and upstreams, gRPC codes, [reasons](refusals.md). A text that
a client chooses is never a label. Requests for models that do not exist are counted under the model `_other`. Requests
that ended before a version was chosen have an empty `version`.
"""
TRITON = """
These have Triton's names and units, so that its dashboards and autoscalers work. Their durations are microseconds.
`promtool check metrics` finds fault with six of these names and with no other: their unit is abbreviated, or they end
in `_count`.
"""
VALUES = """
Values of `code` are names of gRPC status codes. Values of `reason` of `modelward_refusals_total` and
`modelward_fallbacks_total` are [reasons of refusals](refusals.md).
"""
# metric, label, and what each value means where the name does not say it
LABELS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("modelward_connections_refused_total", "reason", {each: MEANING[each] for each in REFUSED}),
    ("modelward_connections_closed_total", "reason", {each: MEANING[each] for each in CLOSED}),
    (
        "modelward_utilization_part",
        "of",
        {
            "permits": "of the version that uses most of its own",
            "loop": "time in which the workers' event loops run, or wait for a core; the mean of the workers",
            "backend": "time of runs in this server, of one model's thread or of all cores, whichever is higher",
        },
    ),
    ("modelward_request_seconds", "outcome", dict.fromkeys(OUTCOME_NAMES, "")),
    ("modelward_worker_restarts_total", "reason", {"died": "", "hung": "it did not answer", "asked": "by an operator"}),
    (
        "modelward_access_log_dropped_total",
        "reason",
        {"full": "they came faster than they are written", "failed": "the file or the collector failed"},
    ),
    (
        "modelward_observations_lost_total",
        "reason",
        {
            "dropped": "they came faster than they are read",
            "cut": "kept, without inputs or answer, which are larger than `observations.message`",
            "torn": "not readable: a worker has written something else",
            "failures": "batches that capture or drift failed on; the log says why",
        },
    ),
    (
        "modelward_capture_dropped_rows_total",
        "reason",
        {
            "queue": "they came faster than they are written",
            "too_large": "their inputs are larger than `observations.message`",
            "features": "`capture.features` names what is no input of the model",
            "unreadable": "an input or answer that cannot be brought into a column",
            "disk": "the file could not be written",
        },
    ),
    (
        "modelward_worker_deaths_total",
        "cause",
        {
            "run": "a run of a version that is known",
            "unattributed": "one of several runs",
            "signal": "a signal from outside",
            "exit": "the process ended itself",
        },
    ),
    ("modelward_shadow_pairs_total", "outcome", dict.fromkeys(ENDINGS, "")),
    ("modelward_shadow_mismatches_total", "kind", dict.fromkeys(MISMATCHES, "")),
    (
        "modelward_shadow_dropped_total",
        "reason",
        {
            "waiting": "requests waited for the model",
            "places": "`concurrency` of the shadow was reached",
            "bytes": "`inflight_bytes` of the shadow was reached",
            "busy": "the cores had no time to spare",
            "yielded": "begun, but not done in time on busy cores",
            "void": "the answer of the model cannot be compared",
            "deadline": "the client's deadline was shorter than the model usually needs",
        },
    ),
    ("modelward_shadow_answer_seconds", "side", dict.fromkeys(SIDES, "")),
    ("modelward_shadow_verdict", "verdict", dict.fromkeys(Verdict, "")),
    (
        "modelward_upstream_changes_total",
        "kind",
        {
            "added": "a model is new",
            "removed": "a model is gone",
            "versions": "",
            "signature": "",
            "refused": "the configuration does not fit the change",
            "unavailable": "no upstream serves the model any more",
            "available": "an upstream serves it again",
        },
    ),
    ("modelward_scan_findings", "severity", dict.fromkeys(SEVERITIES, "")),
    ("modelward_upstream_refreshes_total", "result", dict.fromkeys(("changed", "unchanged", "failed"), "")),
)
KINDS = {"unknown": "counter"}  # Triton's counters, which do not end in _total


def page() -> str:
    found = list(families(complete()))
    own = [each for each in found if each.name.startswith("modelward_")]
    triton = [each for each in found if each not in own]
    values = markdown.table(("Metric", "Label", "Value", "Meaning"), _values())
    blocks = [INTRODUCTION, _table(own), "## Values of labels", VALUES, values, "## Triton's metrics", TRITON]
    blocks.append(_table(triton))
    return markdown.page("Metrics", *blocks)


def complete() -> Snapshot:
    """A snapshot from which every metric comes out."""
    snapshot: Snapshot = replace(_filled(Snapshot), build=build())
    return snapshot


def _table(found: list[Family]) -> str:
    return markdown.table(("Metric", "Type", "Labels", "Meaning"), map(_row, found))


def _row(family: Family) -> tuple[str, str, str, str]:
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    labels = ", ".join(map(markdown.code, family.labels))
    return markdown.code(name), KINDS.get(family.kind, family.kind), labels, f"{family.help}."


def _values() -> Iterator[tuple[str, str, str, str]]:
    for metric, label, values in LABELS:
        if not any(values.values()):
            yield markdown.code(metric), markdown.code(label), ", ".join(map(markdown.code, values)), ""
            continue
        for i, (value, meaning) in enumerate(values.items()):
            first = (markdown.code(metric), markdown.code(label)) if i == 0 else ("", "")
            yield (*first, markdown.code(value), meaning)


def _filled(kind: Any) -> Any:
    """A value of this type with nothing left out."""
    if kind is Histogram:
        return Histogram((1.0,), (1, 1), 1.0)
    if isinstance(kind, type) and issubclass(kind, Struct):
        hints = get_type_hints(kind)
        return kind(**{field.name: _filled(hints[field.name]) for field in fields(kind)})
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _filled(next(each for each in inner if each is not type(None)))
    if origin is list:
        return []
    if origin is tuple:
        return tuple(_filled(each) for each in inner)
    if origin is not None and issubclass(origin, Mapping):
        return {_filled(inner[0]): _filled(inner[1])}
    return kind(1)
