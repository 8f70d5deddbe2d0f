"""Values of the command line: what they mean, what is refused, and their raw form against reference encoders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.utils import serialize_byte_tensor

from modelward.cli.values import ValueProblem, fit_rank, read_value, to_json
from modelward.rpc.contents import NUMPY_TYPES, AnswerProblem, decode, decode_contents, encode
from modelward.rpc.protocol import message_class


@pytest.mark.parametrize("datatype", NUMPY_TYPES)
def test_json_numbers_become_any_numeric_datatype(datatype: str) -> None:
    array = read_value("[[0, 1], [1, 0]]", datatype)
    assert array.dtype == np.dtype(NUMPY_TYPES[datatype])
    assert array.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("text", "datatype"),
    [
        ("300", "INT8"),
        ("-1", "UINT8"),
        ("1.5", "INT64"),
        ("NaN", "INT32"),
        ("2", "BOOL"),
        ("18446744073709551616", "UINT64"),
        ("[1, 9223372036854775808]", "INT64"),
        ("1e300", "FP32"),
        ("1e39", "BF16"),
        ("70000", "FP16"),
    ],
)
def test_a_number_that_its_datatype_cannot_hold_is_refused(text: str, datatype: str) -> None:
    with pytest.raises(ValueProblem, match=f"does not fit {datatype}"):
        read_value(text, datatype)


@pytest.mark.parametrize("text", ["9223372036854775807", "[9007199254740993, 1]"])
def test_large_integers_keep_their_last_digit(text: str) -> None:
    assert read_value(text, "INT64").tolist() == json.loads(text)


def test_the_largest_unsigned_integer_beside_a_small_one_is_exact() -> None:
    assert read_value("[18446744073709551615, 1]", "UINT64").tolist() == [2**64 - 1, 1]


@pytest.mark.parametrize("text", ["[1, 2", "hello", "[[1], [2, 3]]", '{"a": 1}', "null", '["a", 1]', '"a"'])
def test_what_is_no_tensor_of_numbers_is_refused(text: str) -> None:
    with pytest.raises(ValueProblem):
        read_value(text, "FP32")


def test_infinity_and_nan_are_floats_like_others() -> None:
    array = read_value("[NaN, Infinity, -Infinity]", "FP32")
    assert np.isnan(array[0])
    assert array[1:].tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize("text", ["hello", '"hello"'])
def test_text_needs_no_quotes_for_a_string_input(text: str) -> None:
    assert read_value(text, "BYTES").tolist() == b"hello"


def test_numbers_are_not_text() -> None:
    with pytest.raises(ValueProblem, match="BYTES take strings"):
        read_value("[1, 2]", "BYTES")


def test_strings_keep_every_character() -> None:
    assert read_value('["a\\u0000", "", "ü"]', "BYTES").tolist() == [b"a\0", b"", "ü".encode()]


def test_arrays_are_read_from_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.float64).reshape(2, 3))
    (tmp_path / "a.json").write_text("[[0, 1, 2], [3, 4, 5]]")
    for name in ("a.npy", "a.json"):
        assert read_value(f"@{tmp_path / name}", "FP32").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_pickle_in_a_file_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueProblem, match="cannot be read"):
        read_value(f"@{tmp_path / 'a.npy'}", "FP32")


@pytest.mark.parametrize("name", ["missing.npy", "missing.json", "a.csv"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueProblem, match=name):
        read_value(f"@{tmp_path / name}", "FP32")


@pytest.mark.parametrize(
    ("given_shape", "declared", "fitted"),
    [
        ((), [-1, 1], (1, 1)),
        ((), [], ()),
        ((30,), [-1, 30], (1, 30)),
        ((30,), [1, 30], (1, 30)),
        ((30,), [4, 30], (30,)),
        ((2, 30), [-1, 30], (2, 30)),
        ((7,), [-1, 3, 4], (7,)),
    ],
)
def test_only_a_missing_batch_dimension_is_added(
    given_shape: tuple[int, ...], declared: list[int], fitted: tuple[int, ...]
) -> None:
    assert fit_rank(np.zeros(given_shape), declared).shape == fitted


@given(
    st.sampled_from(sorted(NUMPY_TYPES)).flatmap(
        lambda t: st.tuples(st.just(t), hnp.arrays(np.dtype(NUMPY_TYPES[t]), hnp.array_shapes(max_dims=3, max_side=4)))
    )
)
def test_raw_form_and_back_is_the_same_array(case: tuple[str, Any]) -> None:
    datatype, array = case
    np.testing.assert_array_equal(decode(encode(array, datatype), datatype, list(array.shape)), array)


@given(st.lists(st.text(max_size=8), max_size=5))
def test_strings_have_tritonclients_raw_form(texts: list[str]) -> None:
    array = np.array([t.encode() for t in texts] + [b""], object)[:-1]
    raw = encode(array, "BYTES")
    theirs = serialize_byte_tensor(array)
    assert raw == (theirs.item() if theirs.size else b"")
    assert decode(raw, "BYTES", [len(texts)]).tolist() == array.tolist()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=8))
def test_bf16_is_the_nearest_there_is_ties_to_even(values: list[float]) -> None:
    array = np.array(values, np.float32)
    raw = encode(array, "BF16")
    assert raw == array.astype(ml_dtypes.bfloat16).tobytes()
    np.testing.assert_array_equal(decode(raw, "BF16", [len(values)]), array.astype(ml_dtypes.bfloat16).astype("<f4"))


def test_a_bf16_nan_stays_one() -> None:
    bits = np.array([0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(decode(encode(bits, "BF16"), "BF16", [2])).all()


@pytest.mark.parametrize(
    ("raw", "datatype", "shape"),
    [
        (b"\0" * 7, "FP32", [2]),
        (b"\0" * 8, "FP32", [3]),
        (b"\5\0\0\0abc", "BYTES", [1]),
        (b"\0\0", "BYTES", [1]),
        (b"\0\0\0", "BF16", [1]),
        (b"", "FP99", [0]),
    ],
)
def test_an_answer_that_contradicts_itself_is_the_servers_fault(raw: bytes, datatype: str, shape: list[int]) -> None:
    with pytest.raises(AnswerProblem):
        decode(raw, datatype, shape)


def test_typed_contents_are_read_too() -> None:
    contents = message_class("inference.InferTensorContents")(fp32_contents=[1, 2], bytes_contents=[b"a"])
    assert decode_contents(contents, "FP32", [1, 2]).tolist() == [[1, 2]]
    assert decode_contents(contents, "BYTES", [1]).tolist() == [b"a"]
    with pytest.raises(AnswerProblem):
        decode_contents(contents, "FP32", [3])


def test_bytes_that_are_not_text_are_escaped_for_json() -> None:
    assert to_json(np.array([b"ok", b"\xff"], object)) == ["ok", "\\xff"]
