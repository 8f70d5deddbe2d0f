"""Tensors without numpy in and out of a run, held against the same with numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from modelward.models.runtime import runtime
from modelward_native.backend.arrays import NUMPY
from modelward_native.backend.engine import Engine
from modelward_native.backend.plain import Plain, are_close
from tests import models

FLOATS = ["FP16", "FP32", "FP64"]
NUMBERS = st.floats(width=16) | st.sampled_from([0.0, -0.0, 1.0, 1.001, 1000.0, float("inf"), -float("inf")])


def opened(model: bytes) -> Engine:
    runtime()
    return Engine("m", "1", model)


@pytest.mark.parametrize("datatype", [TensorProto.BOOL, TensorProto.INT64, TensorProto.FLOAT16, TensorProto.DOUBLE])
@pytest.mark.parametrize("shape", [(3, 4), (0, 4)])
def test_what_goes_in_comes_out_and_counts_as_with_numpy(datatype: int, shape: tuple[int, ...]) -> None:
    engine = opened(models.identity(datatype))
    x = np.arange(np.prod(shape)).reshape(shape).astype(NUMPY[engine.inputs[0][1]])
    assert engine.run_plain({"x": Plain(shape, x.tobytes())})["y"] == (shape, x.tobytes())
    np.testing.assert_array_equal(engine.run_once({"x": x})["y"], x)
    engine.close()


def test_texts_go_in_and_come_out_as_a_list() -> None:
    engine = opened(models.identity(TensorProto.STRING))
    texts = Plain((1, 4), [b"", b"a", b"\0", b"long" * 100])
    assert engine.run_plain({"x": texts})["y"] == texts
    engine.close()


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (Plain((4,), bytes(16)), "1 dimensions, not 2"),
        (Plain((1, 4), bytes(15)), "elements of its shape"),
        (Plain((1, 5), bytes(16)), "elements of its shape"),
        (Plain((-1, -4), bytes(16)), "elements of its shape"),
    ],
)
def test_what_does_not_fit_is_refused(x: Plain, words: str) -> None:
    engine = opened(models.add_one())
    with pytest.raises(ValueError, match=words):
        engine.run_plain({"x": x})
    engine.close()


def test_texts_of_another_number_than_their_shape_are_refused() -> None:
    engine = opened(models.identity(TensorProto.STRING))
    for texts in ([], [b"a"], [b"a", b"b", b"c"]):
        with pytest.raises(ValueError, match="elements of its shape"):
            engine.run_plain({"x": Plain((1, 2), texts)})
    engine.close()


@given(
    st.sampled_from(FLOATS),
    st.lists(st.tuples(NUMBERS, NUMBERS), max_size=6),
    st.sampled_from([1e-6, 1e-3, 2e-2]),
    st.booleans(),
)
def test_numbers_are_close_as_numpy_has_it(
    datatype: str, pairs: list[tuple[float, float]], tolerance: float, same: bool
) -> None:
    numpys: Any = NUMPY[datatype]
    a, b = (np.array([pair[i] for pair in pairs], numpys) for i in (0, 0 if same else 1))
    ours, theirs = a.astype(np.float64), b.astype(np.float64)
    scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)))
    expected = np.allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    assert are_close(a.tobytes(), b.tobytes(), datatype, tolerance) == expected


def test_numbers_of_bf16_are_the_upper_halves_of_floats() -> None:
    one, more, much_more = (np.array([x], np.float32).tobytes()[2:] for x in (1.0, 1.05, 1.5))
    assert are_close(one, more, "BF16", 0.1)
    assert not are_close(one, much_more, "BF16", 0.1)


def test_what_is_no_numbers_is_not_compared() -> None:
    for data, datatype in ((b"\0" * 4, "INT32"), (b"\0" * 3, "FP32"), (b"", "BYTES")):
        with pytest.raises(ValueError, match="no numbers"):
            are_close(data, data, datatype, 0.1)
    assert not are_close(b"\0" * 4, b"\0" * 8, "FP32", 0.1)
