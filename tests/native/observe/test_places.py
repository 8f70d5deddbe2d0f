"""Places of tensors are told of whole ones alone, whatever bytes a worker or an upstream has left."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.tensors import DATATYPES
from modelward_native.observe.places import NONE, OTHERWISE, PLACE, Places
from tests.e2e.messages import RESPONSE

TENSORS = [("x", "FP32"), ("text", "BYTES")]


def found(messages, rows, *, outputs, batched=True):
    places = Places(TENSORS, outputs=outputs, batched=batched).find(tuple(messages), np.array(rows, np.int64))
    return np.frombuffer(places, list(PLACE)).reshape(len(messages), len(TENSORS))


def written(datatype, shape, raw):
    head = struct.pack(f"<IIQ{len(shape)}q", DATATYPES.index(datatype) + 1, len(shape), len(raw), *shape)
    return head + raw + bytes(-len(raw) % 8)


def message(rows):
    text = struct.pack("<I", 3) + b"abc"
    return written("FP32", (rows, 2), bytes(8 * rows)) + written("BYTES", (rows, 1), text * rows)


def test_of_several_messages_places_count_from_the_first_byte_of_all():
    one, two = message(1), message(3)
    places = found([one, two], [1, 3], outputs=False)
    assert places["begin"].tolist() == [[32, 72], [len(one) + 32, len(one) + 88]]
    assert places["width"].tolist() == [[2, 1]] * 2
    assert places["size"].tolist() == [[8, 7], [24, 21]]


@pytest.mark.parametrize("rows", [0, 2, -1])
def test_a_tensor_with_other_rows_than_its_request_has_no_place(rows):
    assert (found([message(1)], [rows], outputs=False)["begin"] == NONE).all()
    assert found([message(2)], [2], outputs=False, batched=False)["width"].tolist() == [[4, 2]]


@given(st.integers(0, len(message(2)) - 1), st.integers(0, 255))
def test_inputs_that_are_half_written_are_read_with_more_care_or_lie_within_their_message(at, byte):
    whole = message(2)
    for raw in (whole[:at], whole[:at] + bytes([byte]) + whole[at + 1 :]):
        for place in found([raw], [2], outputs=False)[0]:
            assert place["begin"] in (NONE, OTHERWISE) or 0 <= place["begin"] + place["size"] <= len(raw)


@given(st.data())
def test_an_answer_of_any_bytes_is_read_with_more_care_or_lies_within_its_message(data):
    made = RESPONSE(model_name="m", id="1")
    made.outputs.add(name="x", datatype="FP32", shape=[2, 2])
    made.outputs.add(name="text", datatype="BYTES", shape=[2, 1])
    made.raw_output_contents.extend([bytes(16), (struct.pack("<I", 3) + b"abc") * 2])
    whole = made.SerializeToString()
    places = found([whole], [2], outputs=True)[0]
    assert [whole[p["begin"] : p["begin"] + p["size"]] for p in places] == list(made.raw_output_contents)
    at = data.draw(st.integers(0, len(whole) - 1))
    for raw in (whole[:at], whole[:at] + data.draw(st.binary(min_size=1, max_size=3)) + whole[at + 1 :]):
        for place in found([raw], [2], outputs=True)[0]:
            assert place["begin"] in (NONE, OTHERWISE) or 0 <= place["begin"] + place["size"] <= len(raw)


def test_an_answer_in_typed_contents_and_one_with_an_output_twice_are_told_apart():
    typed, twice = RESPONSE(), RESPONSE()
    typed.outputs.add(name="x", datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(1)
    for _ in range(2):
        twice.outputs.add(name="x", datatype="FP32", shape=[1, 1])
        twice.raw_output_contents.append(bytes(4))
    places = found([typed.SerializeToString(), twice.SerializeToString(), b""], [1] * 3, outputs=True)
    assert places["begin"][:, 0].tolist() == [OTHERWISE, NONE, NONE]


def test_more_tensors_than_a_message_may_have_are_refused():
    with pytest.raises(ValueError, match="257 tensors"):
        Places([(f"x{i}", "FP32") for i in range(257)], outputs=False, batched=True)
