"""What a dashboard shows, as plain data: rows of panels with their queries. scripts.dashboards.grafana builds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# which servers, by the variables of each dashboard
SERVERS = 'job=~"$job",instance=~"$instance"'
OF_MODEL = f'{SERVERS},model=~"$model"'
RATE = "$__rate_interval"

Kind = Literal["lines", "stacked", "number", "table", "heatmap"]


@dataclass(frozen=True)
class Query:
    """legend: with {{label}}."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """says: the question that it answers, shown beside the title. unit: of Grafana. bad_from: a value that is shown
    in red. width: in 24ths of the whole."""

    title: str
    says: str
    queries: Sequence[Query]
    kind: Kind = "lines"
    unit: str = "short"
    bad_from: float | None = None
    width: int = 8


@dataclass(frozen=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """Values of a label of a metric, for all servers that are chosen."""

    name: str
    label: str
    values: str


@dataclass(frozen=True)
class Board:
    uid: str
    title: str
    says: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()


MODEL = Variable("model", "Model", f"label_values(modelward_requests_total{{{SERVERS}}}, model)")


def rate(metric: str, by: str, matching: str = SERVERS) -> str:
    """Per second, summed by these labels."""
    return f"sum by ({by}) (rate({metric}{{{matching}}}[{RATE}]))"


def quantile(q: float, histogram: str, by: str = "", matching: str = SERVERS) -> str:
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', ', '.join(filter(None, ('le', by))), matching)})"


def quantiles(histogram: str, matching: str = SERVERS) -> list[Query]:
    return [Query(quantile(q, histogram, matching=matching), f"p{q * 100:g}") for q in (0.5, 0.9, 0.99)]


def share(part: str, whole: str) -> str:
    return f"{part} / {whole}"


def gauge(metric: str, by: str, matching: str = SERVERS, how: str = "sum") -> str:
    return f"{how} by ({by}) ({metric}{{{matching}}})"


def mean(histogram: str, by: str, matching: str = SERVERS) -> str:
    return f"{rate(f'{histogram}_sum', by, matching)} / {rate(f'{histogram}_count', by, matching)}"
