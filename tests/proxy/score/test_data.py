import sys

import numpy as np
import pytest

from modelward.score import ProfileError, load_table

INPUTS = {"a": ("FP32", [2]), "b": ("INT64", [1]), "c": ("BYTES", [1])}


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_columns_are_the_flattened_inputs_in_order(tmp_path):
    data = load_table(write(tmp_path, "t.csv", "x,y,n,word\n1,2.5,3,red\n\n4,5,6,green\n"), INPUTS)
    np.testing.assert_array_equal(data["a"], [[1, 2.5], [4, 5]])
    np.testing.assert_array_equal(data["b"], [[3], [6]])
    assert data["c"].tolist() == [[b"red"], [b"green"]]


def test_a_csv_without_names_loses_no_row(tmp_path):
    assert len(load_table(write(tmp_path, "t.csv", "1,2,3,a\n4,5,6,b\n"), INPUTS)["a"]) == 2


def test_inputs_of_several_dimensions_get_their_shape(tmp_path):
    data = load_table(write(tmp_path, "t.csv", "1,2,3,4\n5,6,7,8\n"), {"a": ("FP32", [2, 2])})
    np.testing.assert_array_equal(data["a"], [[[1, 2], [3, 4]], [[5, 6], [7, 8]]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n", "line 1 has 3 columns, inputs take 4"),
        ("1,2,3,a\n1,2,3,a,5\n", "line 2 has 5 columns"),
        ("1,2,3,a\n1,two,3,a\n", "line 2 column 2 holds 'two', not a number"),
        ("1,2,3,a\n1,,3,a\n", "line 2 column 2 holds '', not a number"),
    ],
)
def test_a_csv_that_does_not_fit_is_told_by_line_and_column(tmp_path, text, message):
    with pytest.raises(ProfileError, match=message):
        load_table(write(tmp_path, "t.csv", text), INPUTS)


def test_a_file_that_is_not_text_is_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xff\xfe\x00\x01\n")
    with pytest.raises(ProfileError, match="not a readable csv"):
        load_table(path, INPUTS)


def test_an_npz_holds_one_array_per_input(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, a=np.ones((5, 2)), b=np.arange(5), c=np.array([b"x"] * 5), more=np.zeros(1))
    assert {k: v.shape for k, v in load_table(path, INPUTS).items()} == {"a": (5, 2), "b": (5,), "c": (5,)}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones((5, 2))}, "no array 'b'.*by the input's name"),
        ({"a": np.ones((5, 3)), "b": np.ones(5), "c": np.array(["x"] * 5)}, r"'a' has shape \(5, 3\)"),
        ({"a": np.ones((5, 2)), "b": np.ones(5), "c": np.ones(5)}, "'c' has datatype float64, the model"),
        ({"a": np.ones((5, 2)), "b": np.ones(5), "c": np.array([b"x", 1], object)}, "save strings as"),
    ],
)
def test_an_npz_that_does_not_fit_is_told_by_array(tmp_path, arrays, message):
    path = tmp_path / "t.npz"
    np.savez(path, **arrays)
    with pytest.raises(ProfileError, match=message):
        load_table(path, INPUTS)


def test_parquet_columns_are_the_flattened_inputs_in_order(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"x": [1.0, 4], "y": [2.5, 5], "n": [3, 6], "word": ["red", "green"]}), path)
    data = load_table(path, INPUTS)
    np.testing.assert_array_equal(data["a"], [[1, 2.5], [4, 5]])
    assert data["c"].tolist() == [["red"], ["green"]]
    with pytest.raises(ProfileError, match="has 4 columns, the inputs take 2"):
        load_table(path, {"a": ("FP32", [2])})
    with pytest.raises(ProfileError, match="column 'word' has datatype object, the model's input is FP32"):
        load_table(path, {"a": ("FP32", [4])})


def test_a_broken_parquet_file_is_told(tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(ProfileError, match="not a readable parquet"):
        load_table(write(tmp_path, "t.parquet", "nothing"), INPUTS)


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ProfileError, match=r"pip install 'modelward\[fit\]'"):
        load_table(write(tmp_path, "t.parquet", ""), INPUTS)


def test_unknown_endings_and_missing_files_are_told(tmp_path):
    with pytest.raises(ProfileError, match=r"training data is \.npz, \.csv or \.parquet"):
        load_table(write(tmp_path, "t.txt", ""), INPUTS)
    with pytest.raises(ProfileError, match="cannot be read: No such file"):
        load_table(tmp_path / "none.csv", INPUTS)


def test_columns_cannot_hold_rows_of_no_fixed_length(tmp_path):
    with pytest.raises(ProfileError, match=r"only an \.npz"):
        load_table(write(tmp_path, "t.csv", "1,2\n"), {"a": ("FP32", [-1])})
