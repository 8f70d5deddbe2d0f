"""The page of metrics, from the collector: of a snapshot in which everything is there once."""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Union, get_args, get_origin, get_type_hints

from proxy.telemetry.build import build
from proxy.telemetry.collector import Family, families
from proxy.telemetry.snapshot import Histogram, Snapshot
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
"""
KINDS = {"unknown": "counter"}  # Triton's counters, which do not end in _total


def page() -> str:
    found = list(families(complete()))
    own = [each for each in found if each.name.startswith("modelward_")]
    triton = [each for each in found if each not in own]
    blocks = [INTRODUCTION, _table(own), "## Triton's metrics", TRITON, _table(triton)]
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


def _filled(kind: Any) -> Any:
    """A value of this type with nothing left out."""
    if kind is Histogram:
        return Histogram((1.0,), (1, 1), 1.0)
    if isinstance(kind, type) and is_dataclass(kind):
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
