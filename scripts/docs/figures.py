"""Figures in documents, from the result files of load tests.

A document says `<!-- figure: race.8x16.guarded -->3.7 us<!-- /figure -->`; `python -m scripts.docs` writes what lies
between, and a test fails where it differs.
"""

import json
import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from scripts.docs import ROOT

RESULTS = ROOT / "loadtests" / "results"
SCORER = ROOT / "tests" / "bench" / "results" / "adbench.md"
TIMES = SCORER.with_name("score.md")
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
DETECTORS = {
    "ours": "modelward",
    "stated": "modelward, 1 in 1,000",
    "careful": "modelward, 1 in 10 million",
    "adwin": "adwin",
    "kswin": "kswin",
    "mmd": "mmd",
    "cvm": "cvm",
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


def cpu_us(file: str, load: str, server: str) -> float:
    """CPU time per request of one server under one load."""
    return float(next(each["cpu_us"] for each in result(file)["results"][load] if each["name"] == server))


def _cpus(file: str) -> dict[str, Figure]:
    """By file, load and server: race.8x16.guarded."""
    measured = {(load, row["name"]) for load, rows in result(file)["results"].items() for row in rows}
    return {
        f"{file}.{load}.{short}": lambda load=load, name=name: us(cpu_us(file, load, name))  # type: ignore[misc]
        for load in result(file)["results"]
        for short, name in SERVERS.items()
        if (load, name) in measured
    }


def _ratio(file: str, load: str, server: str) -> Figure:
    return lambda: f"{cpu_us(file, load, SERVERS[server]) / cpu_us(file, load, SERVERS['guarded']):.0f}"


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


def _poisoned() -> str:
    """Points of accuracy that a model trained on everything loses, at most."""
    return f"{100 * max(each['accuracy'][0] - each['accuracy'][1] for each in result('poisoning')['cases']):.0f}"


def _drift_alarms() -> str:
    return f"{sum(each['alarms'] for each in result('drift')['quiet'] if each['detector'] == 'unchanged')}"


def _drift_rows() -> str:
    rows = sum(each["rows"] for each in result("drift")["quiet"] if each["detector"] == "unchanged")
    return f"{rows / 1_000_000:.0f} million"


def _drift_first() -> str:
    """Changes that are told no later than by any other detector."""
    return f"{len({(each['kind'], each['size']) for each in result('drift')['found']}) - len(result('drift')['later'])}"


def _overload() -> str:
    found = result("overload")["goodput"][0]
    return f"{100 * found['overloaded'] / found['peak']:.0f} %"


def _written(file: str | Path, pattern: str, form: str = "{}") -> Figure:
    """Of a result that is only a table for people. form: for a number of the table, such as {:,.0f}."""

    def figure() -> str:
        page = RESULTS / f"{file}.md" if isinstance(file, str) else file
        found = re.search(pattern, page.read_text())
        assert found is not None, f"{page.name}: {pattern}"
        return form.format(found[1] if form == "{}" else float(found[1]))

    return figure


def _mirror(short: str, shadow: str) -> dict[str, Figure]:
    """What clients notice of a shadow, relative to a server without one."""
    bars = {"p99": "p99 while cores are free", "throughput": "throughput while they are not"}
    return {
        f"mirror.{short}.{name}": _value("mirror", "bars", f"{shadow}: {bar}", form="{:.2f}")
        for name, bar in bars.items()
    }


def _scorer(name: str, column: int, form: str = "{:.3f}") -> dict[str, Figure]:
    """From the rows of means: of all tables, and without the one that alone could decide."""
    rows = {"": r"\| mean ", "_19": r"\| mean without \S+ "}
    return {
        f"scorer.{name}{end}": _written(SCORER, row + r"\|[^|]*" * column + r"\| ([\d.]+)", form)
        for end, row in rows.items()
    }


def _left_out(name: str, row: str) -> dict[str, Figure]:
    """Of designs that were chosen without the table that is measured."""
    columns = {"": 0, "_19": 3}
    return {
        f"scorer.{name}{end}": _written(SCORER, rf"\| left out: {row} " + r"\|[^|]*" * at + r"\| ([\d.]+)", "{:.3f}")
        for end, at in columns.items()
    }


def _score_times() -> dict[str, Figure]:
    """CPU time of a score by space and features, with the best instructions."""
    return {
        f"score.{short}_{n}": _written(TIMES, rf"\| {n} \| {space} \| ([\d.]+)", form)
        for short, space in (("views", "two views"), ("plain", "plain"))
        for n, form in (
            (10, "{:.1f} us"),
            (30, "{:.1f} us"),
            (100, "{:.1f} us"),
            (400, "{:.0f} us"),
            (4096, "{:.0f} us"),
        )
        if (short, n) != ("views", 4096)
    } | {
        "score.image": _written(TIMES, r"An image of .*: (\d+) us", "{:.0f} us"),
        "score.avx2_30": _written(TIMES, r"\| 30 \| two views \| [\d.]+ \| ([\d.]+)", "{:.1f} us"),
        "score.avx2_100": _written(TIMES, r"\| 100 \| two views \| [\d.]+ \| ([\d.]+)", "{:.1f} us"),
    }


FIGURES: dict[str, Figure] = {
    **_score_times(),
    **_cpus("race"),
    **_cpus("hop"),
    **_cpus("hop-tls"),
    "race.8x16.triton_ratio": _ratio("race", "8x16", "triton"),
    "hop.8x16.envoy_ratio": _ratio("hop", "8x16", "envoy"),
    **{f"hop-latency.{server}": _added_p99(server) for server in ("guarded", "haproxy", "nginx", "envoy")},
    **_siege("modelward"),
    **_siege("haproxy"),
    **_siege("envoy"),
    "scan.seconds": _value("scan", "seconds", form="{:.0f} s"),
    "scan.megabytes": _value("scan", "megabytes", form="{:.0f} MB"),
    "poisoning.lost": _value("poisoning", "lost", form="{:.1f}", times=100),
    "poisoning.poisoned": _poisoned,
    **{f"drift.{name}": _value("drift", "medians", detector, form="{:.0f}") for name, detector in DETECTORS.items()},
    "drift.first": _drift_first,
    "drift.alarms": _drift_alarms,
    "drift.rows": _drift_rows,
    "sealed.ratio": _value("sealed", "ratio", form="{:.2f}"),
    "sealed.plain": _value("sealed", "plain", form="{:.1f} s"),
    "sealed.sealed": _value("sealed", "sealed", form="{:.1f} s"),
    "image.ready": _value("image", "bars", "ready, slowest start", form="{:.1f} s"),
    "image.failed": _value("image", "bars", "requests that failed", form="{:.0f}"),
    "install.size": _written("install", r"\| +([\d.]+) MB \|", "{:.0f} MB"),
    "idle.connection": _value("idle", "handshaken_kib", form="{:.1f} KiB"),
    "idle.answered": _value("idle", "answered_kib", form="{:.1f} KiB"),
    "overload.goodput": _overload,
    "limits.admitted": _value("limits", "spreads", "name=nine requests in ten on one", "admitted", form="{:.0f}/s"),
    "slow.in_time": _value("slow", "kinds", "fallback, in time", form="{:,}"),
    "slow.requests": _value("slow", "requests", form="{:,}"),
    "soak.growth": _value("soak", "bars", "growth of memory, server", form="{:+.1f} %"),
    "reload.growth": _value("reload", "bars", "growth of memory", form="{:+.2f} %"),
    "mirror.p99": _value("mirror", "bars", "here, the same version: p99 while cores are free", form="{:.2f}"),
    "mirror.throughput": _value(
        "mirror", "bars", "here, the same version: throughput while they are not", form="{:.2f}"
    ),
    "mirror.cpu": _written("mirror", r"\| here, the same version +\|[^|]*\|[^|]*\| +(\d+)", "{:.0f} us"),
    "mirror.none_cpu": _written("mirror", r"\| none either +\|[^|]*\|[^|]*\| +(\d+)", "{:.0f} us"),
    "mirror.noise": _written("mirror", r"\| none either +\|[^|]*\| +([\d.]+)"),
    **_mirror("another", "another server"),
    **_mirror("slow", "a slow server"),
    **_mirror("frozen", "a frozen server"),
    **_mirror("dying", "a server that dies"),
    "verdicts.worse": _written("verdicts", r"called worse after: ([\d,]+)"),
    "fairness.share": _value("fairness", "bars", "equal weights: anna gets of its share", form="{:.0f} %"),
    "limits.refused": _value("limits", "bars", "refused beside 1,000,000 keys of a caller below it", form="{:.0f}"),
    "restarts.killed": _written("restarts", r"killed every second +\| +\d+ \| +(\d+)", "{:,.0f}"),
    "restarts.fresh": _written("restarts", r"fresh connections +\| +\d+ \| +(\d+)", "{:,.0f}"),
    "reload.requests": _written("reload", r"of ([\d,]+) requests failed"),
    "promote.hit": _written("promote", r"\| begins to fail +\|.*\| +(\d+) of \d+ \|"),
    "hedge.load": _written("hedge", r"\| hedged +\| +[\d.]+ \| +[\d.]+ \| +([\d.]+)"),
    "through.cancelled": _written("through", r"calls cancelled +\| +(\d+)", "{:,.0f}"),
    **_scorer("modelward", 3),
    **_scorer("nearest", 4),
    **_scorer("fifth", 5),
    **_scorer("neighbours", 6),
    **_scorer("forest", 7),
    **_scorer("flagged_01", 8, "{:.2f} %"),
    **_scorer("flagged_001", 9, "{:.2f} %"),
    **_left_out("left_out", "the best"),
    **_left_out("left_out_alike", "those like it"),
    "promote.fails": _value("promote", "bars", "begins to fail: to the rollback", form="{:.1f} s"),
    "promote.slow": _value("promote", "bars", "is slow: to the rollback", form="{:.1f} s"),
    "promote.otherwise": _value("promote", "bars", "answers otherwise: to the rollback", form="{:.1f} s"),
    "hedge.plain_p99": _written("hedge", r"\| plain +\| +[\d.]+ \| +(\d+)"),
    "hedge.hedged_p99": _written("hedge", r"\| hedged +\| +[\d.]+ \| +(\d+)"),
    "through.memory": _written("through", r"while streaming: ([\d.]+ MiB)"),
}
