"""What the load test of honest tenants counts."""

from __future__ import annotations

from loadtests import honest
from loadtests.detection.crowd import REPLACED, Tally
from loadtests.detection.suspects import Suspect
from loadtests.detection.tenants import KINDS

SHARES = {"a": [f"tenant-{i}" for i in range(0, 20, 2)], "b": [f"tenant-{i}" for i in range(1, 20, 2)]}


def test_tenants_are_counted_by_kind_over_all_models() -> None:
    suspects = {
        ("tenant-0", "a"): Suspect("tag", {"near": 9.5}, {}),  # the first of a model is of the first kind
        ("tenant-1", "b"): Suspect("round", {"near": 3.0, "walk": 19.0}, {}),
        ("tenant-3", "b"): Suspect("block", {"unlike": 25.0}, {}),
        ("tenant-0", "b"): Suspect("block", {"unlike": 25.0}, {}),  # of another model: an attacker of its name
    }
    tally = Tally(tenants={"a": {"0": {REPLACED: 4}, "5": {REPLACED: 1, "status 8": 2}}})
    first, second = (honest._kind(kind, SHARES, tally, suspects, 100) for kind in KINDS[:2])
    assert (first.tenants, first.requests, first.tagged, first.restricted) == (4, 400, 2, 1)
    assert (first.replaced, first.refused) == (5, 2)
    assert first.evidence == {"near": 9.5, "walk": 19.0}
    assert (second.tagged, second.restricted, second.replaced) == (1, 1, 0)


def test_the_report_has_a_row_for_each_kind() -> None:
    kinds = [honest._kind(kind, SHARES, Tally(), {}, 100) for kind in KINDS]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in honest.report(kinds).splitlines()[2:]]
    assert rows == [[kind, "4", "400", "0", "0", "0", "0", "-"] for kind in KINDS]
