"""Figures in documents, from the result files of load tests.

A document says `<!-- figure: race.guarded -->3.7 us<!-- /figure -->`; `python -m scripts.docs` writes what lies
between.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from scripts.docs import ROOT

RESULTS = ROOT / "loadtests" / "results"
MARKED = re.compile(r"(<!-- figure: (\S+) -->)(.*?)(<!-- /figure -->)")
EIGHT, ONE, MANY = "8x16", "1x1", "64x1"


@cache
def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def _cpu(file: str, load: str, server: str) -> Callable[[], str]:
    def figure() -> str:
        us = next(each["cpu_us"] for each in result(file)["results"][load] if each["name"] == server)
        return f"{us:.1f} us" if us < 50 else f"{us:.0f} us"

    return figure


FIGURES: dict[str, Callable[[], str]] = {}


def with_figures(text: str) -> str:
    """The document with every marked figure as the results have it. Raises KeyError for an unknown name."""
    return MARKED.sub(lambda found: f"{found[1]}{FIGURES[found[2]]()}{found[4]}", text)
