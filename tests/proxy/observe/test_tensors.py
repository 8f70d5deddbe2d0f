"""Rows of many requests, decoded at once, are what each request says by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.observe import tensors
from modelward.observe.batch import Batch
from modelward.observe.source import Source, Tensor
from modelward.rpc.contents import CONTENTS, Array, encode
from modelward.tensors import DATATYPES
from modelward_native.observe.places import OTHERWISE
from tests.e2e.messages import RESPONSE
from tests.proxy.capture.made import batch_of


def elements(datatype: str, shape: tuple[int, ...], seed: int) -> Array:
    random = np.random.default_rng(seed)
    if datatype == "BYTES":
        made = np.empty(shape, object)
        made.ravel()[:] = [b"x" * int(n) for n in random.integers(0, 9, made.size)]
        return made
    return random.integers(0, 2 if datatype == "BOOL" else 100, shape).astype(
        {"BOOL": "?", "BF16": "f4", "FP16": "f2", "FP32": "f4", "FP64": "f8"}.get(datatype, datatype.lower())
    )


def answer(tensors: list[tuple[str, str, Array]], *, raw: bool) -> bytes:
    made = RESPONSE()
    for name, datatype, array in tensors:
        tensor = made.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if raw:
            made.raw_output_contents.append(encode(array, datatype))
        else:
            getattr(tensor.contents, CONTENTS[datatype]).extend(array.ravel().tolist())
    return bytes(made.SerializeToString())


def by_itself(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs and outputs of it, each message decoded alone."""

    class Nowhere:
        def find(self, messages: tuple[bytes, ...], rows: Array) -> bytes:
            specs = len(batch.source.inputs)  # as many as outputs
            found = np.zeros((len(messages), specs), tensors.PLACE_DTYPE)
            found["begin"] = OTHERWISE
            return found.tobytes()

    with monkeypatch.context() as patched:
        patched.setattr(tensors, "_places", lambda *_: Nowhere())
        alone = replace(batch)
        return dict(alone.inputs), dict(alone.outputs)


def same(one: dict[str, Array], other: dict[str, Array]) -> bool:
    assert one.keys() == other.keys()
    return all(
        one[name].dtype == other[name].dtype and repr(one[name].tolist()) == repr(other[name].tolist()) for name in one
    )


REQUESTS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(0, 7)), min_size=1, max_size=6)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("datatype", DATATYPES)
def test_they_are_the_same_whatever_the_messages_are(datatype: str, batched: bool):
    names = ("a", "b")
    specs = tuple(Tensor(name, each, (-1, 2)) for name, each in zip(names, ("FP32", datatype), strict=True))
    source = Source("m", "1", "", 1.0, specs, specs, batched)
    typed = datatype in CONTENTS

    @settings(max_examples=15, deadline=None)
    @given(REQUESTS)
    def check(requests: list[tuple[int, int, int]]) -> None:
        given = [
            {each.name: elements(each.datatype, (count if batched else 1, 2), seed) for each in specs}
            for count, seed, _ in requests
        ]
        answers = []
        for made, (_, seed, odd) in zip(given, requests, strict=True):
            told = [(each.name, each.datatype, made[each.name]) for each in specs]
            if odd == 1:
                told.reverse()
            if odd == 2:
                told = told[:1] * 2 + told[1:]
            if odd == 3:
                told = told[1:]
            if odd == 4:
                told[1] = ("b", datatype, elements(datatype, (1, 3), seed))
            raw = answer(told, raw=not (odd == 5 and typed))
            answers.append(raw[: len(raw) - 3] if odd == 6 else raw)
        batch = replace(batch_of(given, source), raw_answers=tuple(answers))
        cut = [each[:-8] if odd == 7 else each for each, (_, _, odd) in zip(batch.raw_inputs, requests, strict=True)]
        batch = replace(batch, raw_inputs=tuple(cut))
        if batched:  # the last row of each is not among those that are here
            batch = sampled(batch)
        with pytest.MonkeyPatch.context() as monkeypatch:
            inputs, outputs = by_itself(batch, monkeypatch)
        assert same(dict(batch.inputs), inputs) and same(dict(batch.outputs), outputs)

    check()


def sampled(batch: Batch) -> Batch:
    """With the last row of each request alone."""
    heads = batch.requests.copy()
    ends = np.cumsum(heads["rows"])
    heads["rows"] = 1
    return replace(
        batch,
        requests=heads,
        rows=batch.rows[ends - 1],
        features=batch.features[ends - 1],
        categories=batch.categories[ends - 1],
    )


def test_a_row_beyond_its_request_costs_that_request_alone():
    specs = (Tensor("x", "FP32", (-1, 2)),)
    source = Source("m", "1", "", 1.0, specs, specs, True)
    batch = batch_of([{"x": np.full((1, 2), float(i), np.float32)} for i in range(3)], source, row=[0, 5, 0])
    ((rows, found),) = batch.asked.parts(specs[0])
    assert rows.tolist() == [0, 2] and found.tolist() == [[0, 0], [2, 2]]


def test_ordinary_messages_are_not_decoded_one_by_one(monkeypatch: pytest.MonkeyPatch):
    specs = (Tensor("x", "FP32", (-1, 2)), Tensor("text", "BYTES", (-1, 1)))
    source = Source("m", "1", "", 1.0, specs, specs[:1], True)
    given = {"x": np.ones((2, 2), np.float32), "text": np.array([[b"a"], [b"bc"]], object)}
    batch = batch_of([given] * 3, source)
    monkeypatch.setattr(tensors.Tensors, "_decoded_rows", lambda *_: pytest.fail("a message was decoded by itself"))
    assert batch.inputs["x"].shape == (6, 2)
    assert batch.inputs["text"].ravel().tolist() == [b"a", b"bc"] * 3
    assert batch.outputs["x"].tolist() == [[1, 1]] * 6
