"""The first runs of a model: made-up inputs of sizes that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelward import child
from modelward.models.limited import open_once
from modelward.models.model_file import load_artifact
from modelward.models.runtime import runtime
from modelward.models.trial import find
from modelward.models.warmup import MOST_ELEMENTS, made_up, sizes, warm_up
from modelward_native.backend.engine import Engine
from tests import models


@contextmanager
def opened(data: bytes) -> Iterator[Engine]:
    runtime()
    engine = Engine("model", "1", data)
    yield engine
    engine.close()


@pytest.mark.parametrize("layers", [1, 3, 5])
def test_convolutions_over_pictures_of_any_size_are_warmed_up_and_batched(tmp_path: Path, layers: int) -> None:
    (tmp_path / "model.onnx").write_bytes(models.convolutions(layers))
    artifact = load_artifact(tmp_path, tmp_path / "model.onnx")
    with opened(artifact.data) as engine:
        assert warm_up(engine, 8, artifact.entangled) == ""
        assert engine.batchable


def test_only_what_takes_no_size_at_all_is_run_request_by_request(tmp_path: Path) -> None:
    with opened(models.convolutions(8)) as engine:
        assert "refused made-up inputs" in warm_up(engine, 8)
        assert not engine.batchable


def test_larger_sizes_are_those_of_dynamic_axes_beside_the_rows_and_bounded() -> None:
    with opened(models.mlp()) as engine:
        assert list(sizes(engine)) == [1]
    with opened(models.convolutions()) as engine:
        assert list(sizes(engine)) == [1, 8, 32, 224]
        assert made_up(engine, None, 224)["x"].shape == (1, 3, 224, 224)
        assert len(made_up(engine, None, 224)["x"].data) <= 4 * MOST_ELEMENTS


def test_a_trial_of_empty_dimensions_uses_a_size_that_the_model_takes() -> None:
    symbols = (("batch", None, "height", "width"),)
    findings = child.in_child(child.Bounds(60), find, models.convolutions(3), symbols)
    assert findings.dies == ""
    assert (0,) in findings.borne, findings


def test_a_costly_model_is_run_in_a_child_with_a_size_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    run_plain = Engine.run_plain

    class Seen(Engine):
        def run_plain(self, inputs):  # type: ignore[no-untyped-def]
            answers.append(run_plain(self, inputs))
            return answers[-1]

    monkeypatch.setattr("modelward.models.limited.Engine", Seen)
    open_once(models.convolutions(3))
    assert [answer["y"].shape for answer in answers] == [(1, 3)]
