"""An engine beside and without the requests that it serves: side runs, and out of service."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from modelward.models.runtime import runtime
from modelward_native.backend.arrays import NUMPY
from modelward_native.backend.engine import Engine
from modelward_native.backend.side_run import SideRun
from tests import models

ROW = np.ones((1, 4), np.float32)
DATATYPES = [TensorProto.BOOL, TensorProto.INT8, TensorProto.INT64, TensorProto.FLOAT16, TensorProto.DOUBLE]


def opened(model: bytes) -> Engine:
    runtime()
    return Engine("m", "1", model)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (1, 4)])
def test_what_goes_in_comes_out_whatever_the_datatype(datatype: int, shape: tuple[int, ...]) -> None:
    engine = opened(models.identity(datatype))
    x = np.arange(np.prod(shape)).reshape(shape).astype(NUMPY[engine.inputs[0][1]])
    for found in (engine.run_once({"x": x})["y"], SideRun(engine).run_once({"x": x})["y"]):
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, x)
    engine.close()


def test_strings_and_arrays_in_another_order_go_in_as_they_are() -> None:
    engine = opened(models.identity(TensorProto.STRING))
    texts = np.array([[b"", b"a", b"\0", b"long" * 100]], object)
    np.testing.assert_array_equal(SideRun(engine).run_once({"x": texts})["y"], texts)
    engine = opened(models.identity())
    turned = np.arange(12, dtype=np.float32).reshape(4, 3).T
    np.testing.assert_array_equal(SideRun(engine).run_once({"x": turned})["y"], turned)


def test_side_runs_of_many_threads_do_not_meet() -> None:
    engine = opened(models.add_one())
    start = threading.Barrier(4)

    def run(number: int) -> bool:
        side, x = SideRun(engine), np.full((8, 4), number, np.float32)
        start.wait()
        return all((side.run_once({"x": x})["y"] == number + 1).all() for _ in range(500))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(4)))


def test_an_engine_is_not_idle_and_cannot_be_closed_until_its_side_runs_are_freed() -> None:
    engine = opened(models.add_one())
    side: SideRun | None = SideRun(engine)
    assert not engine.idle
    with pytest.raises(RuntimeError, match="running"):
        engine.close()
    side = None
    assert side is None
    assert engine.idle
    engine.close()
    with pytest.raises(RuntimeError, match="not open"):
        SideRun(engine)


def test_a_side_run_that_never_ends_is_ended_by_another_thread() -> None:
    engine = opened(models.slow_loop(2**62))
    side, failures = SideRun(engine), list[Exception]()
    begun = threading.Event()

    def run() -> None:
        begun.set()
        try:
            side.run_once({"x": ROW})
        except ValueError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    side.stop()
    thread.join(30)
    assert len(failures) == 1


@pytest.mark.parametrize(
    ("inputs", "words"),
    [({"x": np.ones(4, np.float32)}, "1 dimensions, not 2"), ({"x": np.ones((1, 4))}, "float64, not FP32")],
)
def test_what_an_engine_does_not_take_is_refused_before_it_runs(inputs: dict[str, Any], words: str) -> None:
    engine = opened(models.add_one())
    for run in (engine.run_once, SideRun(engine).run_once):
        with pytest.raises(ValueError, match=words):
            run(inputs)


def test_an_engine_counts_its_canarys_runs_and_is_failing_or_not() -> None:
    engine = opened(models.add_one())
    for failing, count in ((True, 1), (True, 1), (False, 0), (False, 0), (True, 1)):
        engine.failing = failing
        engine.count_canary(not failing)
        assert (engine.failing, engine.totals()["failing"]) == (failing, count)
    assert (engine.totals()["canary_runs"], engine.totals()["canary_failures"]) == (5, 3)
