"""Figures in documents, from the result files of load tests.

A document says `<!-- figure: race.8x16.guarded -->3.7 us<!-- /figure -->`; `python -m scripts.docs` writes what lies
between, and a test fails where it differs.
"""

import json
import math
import re
from collections.abc import Callable
from functools import cache
from statistics import median
from typing import Any

from scripts.docs import ROOT

RESULTS = ROOT / "loadtests" / "results"
MARKED = re.compile(r"(<!-- figure: (\S+) -->)(.*?)(<!-- /figure -->)")

SERVERS = {
    "guarded": "modelward",
    "identities": "modelward, identities and budgets",
    "unguarded": "modelward, no guards",
    "refusing": "modelward, refusing",
    "triton": "Triton",
    "grpc_aio": "grpc.aio",
    "haproxy": "HAProxy",
    "nginx": "nginx",
    "envoy": "Envoy",
}
Figure = Callable[[], str]


@cache
def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def with_figures(text: str) -> str:
    """The document with every marked figure as the results have it. Raises KeyError for an unknown name."""
    return MARKED.sub(lambda found: f"{found[1]}{FIGURES[found[2]]()}{found[4]}", text)


def us(figure: float) -> str:
    return f"{figure:.0f} us" if figure >= 30 else f"{figure:.1f} us"


def _cpu(file: str, load: str, server: str) -> float:
    return float(next(each["cpu_us"] for each in result(file)["results"][load] if each["name"] == server))


def _cpus(file: str) -> dict[str, Figure]:
    """By file, load and server: race.8x16.guarded."""
    measured = {(load, row["name"]) for load, rows in result(file)["results"].items() for row in rows}
    return {
        f"{file}.{load}.{short}": lambda load=load, name=name: us(_cpu(file, load, name))  # type: ignore[misc]
        for load in result(file)["results"]
        for short, name in SERVERS.items()
        if (load, name) in measured
    }


def _ratio(file: str, load: str, server: str) -> Figure:
    return lambda: f"{_cpu(file, load, SERVERS[server]) / _cpu(file, load, SERVERS['guarded']):.0f}"


def _value(file: str, *path: str, form: str = "{:.1f}", times: float = 1) -> Figure:
    """One number of a result: keys, and NAME=VALUE for the item of a list that has it."""

    def figure() -> str:
        found: Any = result(file)
        for step in path:
            key, is_item, value = step.partition("=")
            found = next(each for each in found if each[key] == value) if is_item else found[step]
        return form.format(found * times)

    return figure


def _added_p99(server: str) -> Figure:
    def figure() -> str:
        p99 = {each["name"]: median(each["p99"]) for each in result("hop-latency")["measured"]}
        return f"{(p99[SERVERS[server]] - p99['no proxy']) / 1000:.1f} ms"

    return figure


def _siege(peer: str) -> dict[str, Figure]:
    def answered() -> str:
        whole = result(f"siege-{peer}")["whole"]
        return f"{math.floor(1000 * whole['succeeded'] / whole['honest']) / 10:g} %"

    return {
        f"siege.{peer}.answered": answered,
        f"siege.{peer}.p99": _value(f"siege-{peer}", "whole", "p99", form="{:.0f} ms"),
    }


def _overload() -> str:
    found = result("overload")["goodput"][0]
    return f"{100 * found['overloaded'] / found['peak']:.0f} %"


def _written(file: str, pattern: str) -> Figure:
    """Of a result that is only a table for people."""

    def figure() -> str:
        found = re.search(pattern, (RESULTS / f"{file}.md").read_text())
        assert found is not None, f"{file}.md: {pattern}"
        return found[1]

    return figure


FIGURES: dict[str, Figure] = {
    **_cpus("race"),
    **_cpus("hop"),
    **_cpus("hop-tls"),
    "race.8x16.triton_ratio": _ratio("race", "8x16", "triton"),
    "hop.8x16.envoy_ratio": _ratio("hop", "8x16", "envoy"),
    **{f"hop-latency.{server}": _added_p99(server) for server in ("guarded", "haproxy", "nginx", "envoy")},
    **_siege("modelward"),
    **_siege("haproxy"),
    **_siege("envoy"),
    "idle.connection": _value("idle", "handshaken_kib", form="{:.1f} KiB"),
    "idle.answered": _value("idle", "answered_kib", form="{:.1f} KiB"),
    "overload.goodput": _overload,
    "limits.admitted": _value("limits", "spreads", "name=nine requests in ten on one", "admitted", form="{:.0f}/s"),
    "slow.in_time": _value("slow", "kinds", "fallback, in time", form="{:,}"),
    "slow.requests": _value("slow", "requests", form="{:,}"),
    "soak.growth": _value("soak", "bars", "growth of memory, server", form="{:+.1f} %"),
    "reload.growth": _value("reload", "bars", "growth of memory", form="{:+.2f} %"),
    "stages.score_30": _value("stages", "stages", "stage=score: 30 features", "ns", form="{:.2f} us", times=1e-3),
    "stages.score_100": _value("stages", "stages", "stage=score: 100 features", "ns", form="{:.1f} us", times=1e-3),
    "mirror.p99": _value("mirror", "bars", "here, the same version: p99 while cores are free", form="{:.2f}"),
    "mirror.throughput": _value(
        "mirror", "bars", "here, the same version: throughput while they are not", form="{:.2f}"
    ),
    "promote.fails": _value("promote", "bars", "begins to fail: to the rollback", form="{:.1f} s"),
    "promote.slow": _value("promote", "bars", "is slow: to the rollback", form="{:.1f} s"),
    "promote.otherwise": _value("promote", "bars", "answers otherwise: to the rollback", form="{:.1f} s"),
    "hedge.plain_p99": _written("hedge", r"\| plain +\| +[\d.]+ \| +(\d+)"),
    "hedge.hedged_p99": _written("hedge", r"\| hedged +\| +[\d.]+ \| +(\d+)"),
    "through.memory": _written("through", r"while streaming: ([\d.]+ MiB)"),
}
