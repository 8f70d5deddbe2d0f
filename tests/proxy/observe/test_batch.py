"""What one request has sent or was answered is kept apart from the rows of all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from modelward.observe import batch as batches
from modelward.observe.batch import Batch
from modelward.observe.source import Source, Tensor
from modelward.rpc.contents import Array, encode
from tests.e2e.messages import RESPONSE
from tests.proxy.capture.made import batch_of

SOURCE = Source("m", "1", "", 1.0, (Tensor("x", "FP32", (-1, 2)),), (Tensor("y", "FP32", (-1, 2)),), True)
WIDE = replace(SOURCE, inputs=(Tensor("x", "FP32", (-1, -1)),), outputs=(Tensor("y", "FP32", (-1, -1)),))


def asked(count: int, value: float = 1.0, width: int = 2) -> dict[str, Array]:
    return {"x": np.full((count, width), value, np.float32)}


def answer(*outputs: tuple[str, str, Sequence[int], Array], raw: bool = True) -> bytes:
    made = RESPONSE()
    for name, datatype, shape, array in outputs:
        tensor = made.outputs.add(name=name, datatype=datatype, shape=shape)
        if raw:
            made.raw_output_contents.append(encode(array, datatype))
        else:
            tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return bytes(made.SerializeToString())


def floats(*shape: int) -> Array:
    return np.full(shape, 9, np.float32)


ODD = {
    "another datatype": answer(("y", "BYTES", [1, 2], np.array([b"a", b"b"], object))),
    "a wider row": answer(("y", "FP32", [1, 3], floats(1, 3))),
    "more rows": answer(("y", "FP32", [3, 2], floats(3, 2))),
    "fewer dimensions": answer(("y", "FP32", [6], floats(6))),
    "no dimension": answer(("y", "FP32", [], floats(1))),
    "another shape than bytes": answer(("y", "FP32", [1, 2], floats(1, 3))),
    "dimensions that overflow": answer(("y", "FP32", [1 << 62, 4], floats(1, 2))),
    "empty dimensions": answer(("y", "FP32", [1, 0], floats(0))),
    "the same output twice": answer(("y", "FP32", [1, 2], floats(1, 2)), ("y", "FP32", [1, 2], floats(1, 2))),
    "typed contents of another number": answer(("y", "FP32", [1, 2], floats(1, 3)), raw=False),
    "another name": answer(("z", "FP32", [1, 2], floats(1, 2))),
    "no message": b"\xff\xff\xff",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_one_odd_answer_costs_its_own_rows_alone(odd: bytes):
    made = batch_of([asked(2, 1), asked(1, 2), asked(2, 3)], SOURCE)
    made = replace(made, raw_answers=(made.raw_answers[0], odd, made.raw_answers[2]))
    outputs = made.outputs["y"]
    assert np.isnan(outputs[2]).all()
    assert outputs[[0, 1, 3, 4]].tolist() == [[1, 1], [1, 1], [3, 3], [3, 3]]


def test_an_answer_in_typed_contents_is_read():
    made = batch_of([asked(1)], SOURCE)
    made = replace(made, raw_answers=(answer(("y", "FP32", [1, 2], floats(1, 2)), raw=False),))
    assert made.outputs["y"].tolist() == [[9, 9]]


@pytest.mark.parametrize("damage", [lambda raw: raw[:-8], lambda raw: b"\x7f" + raw[1:], lambda raw: raw[:9]])
def test_inputs_that_a_worker_left_half_written_cost_their_own_rows_alone(damage: Any):
    made = batch_of([asked(1, 1), asked(1, 2), asked(1, 3)], SOURCE)
    made = replace(made, raw_inputs=(made.raw_inputs[0], damage(made.raw_inputs[1]), made.raw_inputs[2]))
    assert np.isnan(made.inputs["x"][1]).all()
    assert made.inputs["x"][[0, 2]].tolist() == [[1, 1], [3, 3]]


def test_requests_are_chosen_with_all_that_is_theirs():
    made = batch_of([asked(2, 1), asked(1, 2), asked(3, 3)], SOURCE, identity=[1, 2, 3])
    found = made.only(np.array([True, False, True]))
    assert found.ids == (b"r0", b"r2")
    assert found.identity.tolist() == [1, 1, 3, 3, 3]
    assert found.inputs["x"][:, 0].tolist() == [1, 1, 3, 3, 3]
    assert found.features[:, 0].tolist() == [1, 1, 3, 3, 3]
    assert found.outputs["y"][:, 0].tolist() == [1, 1, 3, 3, 3]


def whole(pieces: list[Batch]) -> list[bytes]:
    return [each for piece in pieces for each in piece.ids]


def test_a_wide_row_makes_no_array_of_all_rows_as_wide(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "MOST_ELEMENTS", 64 << 10)
    narrow, wide = [asked(64, width=1)] * 20, [asked(1, width=4000)]
    made = batch_of(narrow + wide + narrow, WIDE)
    pieces = list(made.pieces())
    assert whole(pieces) == list(made.ids)
    for piece in pieces:
        most = int((piece.sizes // np.maximum(piece.requests["rows"], 1)).max())
        assert len(piece) * most <= 64 << 10
    assert len(pieces) == 3


def test_a_large_batch_comes_in_pieces_and_a_small_one_as_it_is(monkeypatch: pytest.MonkeyPatch):
    made = batch_of([asked(100)] * 10, SOURCE)
    assert list(made.pieces()) == [made]
    monkeypatch.setattr(batches, "MOST_ROWS", 250)
    assert [len(piece) for piece in made.pieces()] == [200] * 5
    monkeypatch.setattr(batches, "MOST_BYTES", 1)
    pieces = list(made.pieces())
    assert [len(piece) for piece in pieces] == [100] * 10  # no request is split
    assert whole(pieces) == list(made.ids)


def test_rows_of_one_width_are_one_part():
    made = batch_of([asked(2, 1), asked(1, 2), asked(1, 3, 4), asked(1, 4)], WIDE)
    parts = made.asked.parts(WIDE.inputs[0])
    assert [(rows.tolist(), part.tolist()) for rows, part in parts] == [
        ([0, 1, 2, 4], [[1, 1], [1, 1], [2, 2], [4, 4]]),
        ([3], [[3, 3, 3, 3]]),
    ]


def test_rows_of_a_request_without_the_tensor_are_in_no_part():
    made = batch_of([asked(1, 1), asked(1, 2), asked(1, 3)], WIDE)
    made = replace(made, raw_inputs=(made.raw_inputs[0], b"", made.raw_inputs[2]))
    assert [rows.tolist() for rows, _ in made.asked.parts(WIDE.inputs[0])] == [[0, 2]]
