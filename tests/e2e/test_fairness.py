"""A busy backend is shared by weight: a caller that floods it takes nothing from those that stay within their share."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests import fairness
from loadtests.tools import h2load
from tests.e2e.test_priorities import issuer, last_of, served
from tests.tokens import Issuer

__all__ = ["issuer"]  # a fixture

FLOOD = 60


def test_each_of_three_has_a_third_of_the_turns(issuer: Issuer, tmp_path: Path) -> None:
    arrivals = [("greta", (0,) * FLOOD), ("anna", (0,) * 6), ("boris", (0,) * 6)]
    ids = served(issuer, tmp_path, arrivals)
    assert max(last_of(ids, "anna"), last_of(ids, "boris")) <= 27, "18 by exact shares"
    assert any(each.startswith("greta") for each in ids[:9]), "and she who floods has hers"


def test_the_turns_of_each_are_by_weight(issuer: Issuer, tmp_path: Path) -> None:
    arrivals = [("greta", (0,) * FLOOD), ("anna", (0,) * 6), ("boris", (0,) * 24)]
    weights = {"overrides": {"anna": {"weight": 2}, "boris": {"weight": 8}}}
    ids = served(issuer, tmp_path, arrivals, identity=weights)
    # 33 by exact shares; were they equal, boris would have 54, and 84 behind the flood
    assert last_of(ids, "boris") <= 43
    assert last_of(ids, "anna") <= 43
    assert any(each.startswith("greta") for each in ids[:22])


@pytest.mark.skipif(not h2load.installed(), reason=h2load.ABSENT)
def test_the_load_test_floods_and_tells_what_everybody_gets() -> None:
    """How much that is, `make bench-fairness` holds against bars: on a machine that does nothing else."""
    parts = {part.tenant: part for part in fairness.measure(fairness.WEIGHTED, seconds=0.3)}
    assert {name: part.weight for name, part in parts.items()} == fairness.WEIGHTED
    flooder = parts[fairness.FLOODER]
    assert flooder.sent > 10 * sum(part.sent for part in parts.values() if part is not flooder)
    assert all(part.answered > 0 for part in parts.values())
