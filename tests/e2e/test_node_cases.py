"""The cases that ONNX has for its operators, those of every fifth file. `make bench-nodes` takes all of them."""

from pathlib import Path

from tests.e2e.node_cases import run

EVERY = 5


def test_operators_are_served_as_onnx_runtime_runs_them_or_refused_with_a_reason(tmp_path: Path) -> None:
    found = run(EVERY, tmp_path / "models")
    assert found.differ == []
    assert found.failed == {}
    assert all(found.refused.values()), "each with a reason"
    assert found.cases > 250
    assert len(found.equal) > 240
    assert len(found.uncompared) <= 3
    assert len(found.errors) <= 1
    # other domains, sequences, and what this release of ONNX Runtime has no kernel for
    assert sum(found.reasons[reason] for reason in found.reasons if "which this server never loads" in reason) <= 6
    assert len(found.refused) <= 16
