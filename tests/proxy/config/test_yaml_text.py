"""YAML as the configuration reads it."""

import math

import pytest

from modelward.config.yaml_text import MOST_NODES, read_document, read_value
from modelward.problem import ProblemsFound


def problems(text: str) -> str:
    with pytest.raises(ProblemsFound) as found:
        read_document(text, "file.yaml")
    return str(found.value)


def test_every_key_and_item_knows_its_line() -> None:
    layer = read_document("a:\n  b: 1\n  c:\n    - x\n    - y\n", "file.yaml")
    assert layer.values == {"a": {"b": 1, "c": ["x", "y"]}}
    assert layer.origin(("a", "b")) == "file.yaml:2"
    assert layer.origin(("a", "c", 1)) == "file.yaml:5"
    assert layer.origin(("a", "missing")) == "file.yaml:1"


def test_a_key_given_twice_is_an_error_that_names_both_lines() -> None:
    assert problems("a: 1\nb: 2\na: 3\nb: 4\n").splitlines() == [
        "file.yaml:3: a is given twice: it stands on line 1 too. Keep one of them",
        "file.yaml:4: b is given twice: it stands on line 2 too. Keep one of them",
    ]


def test_off_is_a_word_and_only_true_and_false_are_booleans() -> None:
    layer = read_document("a: off\nb: yes\nc: true\nd: False", "")
    assert layer.values == {"a": "off", "b": "yes", "c": True, "d": False}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0x1F", 31),
        ("1e5", 1e5),
        ("-.5", -0.5),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("[1, a]", [1, "a"]),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert read_value(text) == value


def test_not_a_number_can_be_written() -> None:
    assert math.isnan(read_value(".nan"))


def test_text_that_is_no_yaml_stands_for_itself_in_a_flag() -> None:
    assert read_value("[::1]:8001") == "[::1]:8001"


def test_keys_are_text_even_where_they_look_like_numbers() -> None:
    assert read_document("models: {1: {}, off: {}}", "").values == {"models": {"1": {}, "off": {}}}


def test_an_empty_document_is_an_empty_layer() -> None:
    assert read_document("# nothing\n", "file.yaml").values == {}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [1\nb: 2\n", "file.yaml:2"),
        ("a: 1\n\tb: 2\n", "file.yaml:2"),
        ("- a\n", "file.yaml:1"),
        ("just text", "file.yaml:1"),
        ("a: !!python/object:os.system {}", "file.yaml"),
        ("x: 1\na: !!int text", "file.yaml:2"),
        ("a: \x07", "file.yaml"),
        ("? [a]\n: b", "file.yaml:1"),
        ("a: *nowhere", "file.yaml:1"),
        (f"x: 1\na: {'9' * 5000}", "file.yaml:2"),
        (f"a: 1.{'0' * 5000}", "file.yaml:1"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, where: str) -> None:
    assert problems(text).startswith(where)


def test_aliases_that_multiply_are_counted() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert str(MOST_NODES) in problems("\n".join(lines))


def test_an_alias_to_itself_and_a_deep_document_are_refused() -> None:
    assert "too deep" in problems("a: &a [*a]")
    assert "too deep" in problems("a: " + "[" * 100_000)


def test_a_number_with_commas_between_braces_is_one_value_and_no_keys() -> None:
    layer = read_document("a: {rate: 1 in 10,000,000, b: 2, 300: x, c: 1,000}\nd: {e: {f: 1,000}, 000: 1}", "")
    assert layer.values == {
        "a": {"rate": "1 in 10,000,000", "b": 2, "300": "x", "c": "1,000"},
        "d": {"e": {"f": "1,000"}, "000": 1},
    }
    assert read_value("{a: [1,000], b: 'x1', 000}") == {"a": [1, 0], "b": "x1", "000": None}
