"""Pairs of answers compared in place, held against protobuf's parser and plain Python."""

import struct
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelward_native.shadow import compare as native
from modelward_native.shadow.sketch import SCORE_EDGES
from modelward_native.shadow.stats import SIZE, WINDOW, Stats
from modelward_native.telemetry.histogram import EDGES
from modelward_native.testing import scan
from modelward_native.testing.shadow import score_cell
from tests.oracle import compare as oracle
from tests.oracle import oip
from tests.oracle.wire import Writer, delimited, groups

TOLERANCE = 0.01


def assert_agrees(primary: bytes, shadow: bytes) -> str:
    """Both readers say the same of the pair; returns the status."""
    seen, meant = native.compare(primary, shadow, TOLERANCE), oracle.compare(primary, shadow, TOLERANCE)
    for name in ("absolute_sum", "relative_sum"):
        assert seen[name] == pytest.approx(meant.pop(name), rel=1e-9)
    assert {name: value for name, value in seen.items() if name in meant} == meant
    return seen["status"]


def answer(**outputs: Any) -> bytes:
    """A raw answer of numpy arrays, of (datatype, shape, raw), or of lists of strings by output name."""
    tensors = []
    for name, value in outputs.items():
        if isinstance(value, tuple):
            tensors.append((name, *value))
        elif isinstance(value, list):
            tensors.append((name, "BYTES", [len(value)], oip.raw_strings(value)))
        else:
            kinds = {"b": "BOOL", "i": "INT", "u": "UINT", "f": "FP"}
            datatype = kinds[value.dtype.kind] + ("" if value.dtype.kind == "b" else str(8 * value.itemsize))
            tensors.append((name, datatype, list(value.shape), value.tobytes()))
    return scan.reply("m", "1", outputs=tensors)


def floats(*rows: Any) -> np.ndarray:
    return np.array(rows, np.float32)


# ---- the scanner ----


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_every_encoding_of_an_answer_is_read_as_protobuf_reads_it(random: Random) -> None:
    message = Writer(random).answer()
    assert_agrees(message, message)
    assert_agrees(message, Writer(random).answer())


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_damaged_answer_is_refused_where_protobuf_refuses_it(random: Random) -> None:
    good = answer(scores=floats([0.1, 0.9]))
    damaged = Writer(random, damage=True).answer()
    assert_agrees(good, damaged)
    assert_agrees(damaged, good)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
@example(b"")
def test_noise_is_refused_where_protobuf_refuses_it(message: bytes) -> None:
    assert_agrees(answer(), message)


def test_thousands_of_fixed_seeds_agree_with_protobuf() -> None:
    readable = 0
    for seed in range(3000):
        message = Writer(Random(seed), damage=seed % 2 == 1).answer()
        readable += assert_agrees(answer(), message) == "compared"
        assert_agrees(message, message)
    assert 1500 < readable < 2900


def test_every_prefix_of_an_answer_is_judged_as_protobuf_judges_it() -> None:
    whole = answer(scores=floats([0.1, 0.9]), label=[b"one", b"two"])
    assert {assert_agrees(whole, whole[:end]) for end in range(len(whole) + 1)} == {"compared", "shadow unreadable"}


def test_an_answer_of_many_bytes_beside_its_raw_contents_is_not_read() -> None:
    good = answer(scores=floats([0.1, 0.9]))
    for bulk in (delimited(99, b"x" * 100_000), delimited(4, b"\x08\x01" * 50_000), groups(1, 9) * 30_000):
        assert native.compare(good, good + bulk, TOLERANCE)["status"] == "shadow unreadable"
        assert native.compare(good + bulk, good, TOLERANCE)["status"] == "primary unreadable"
    assert native.compare(good, good + b"\x58\x01" * 20_000, TOLERANCE)["status"] == "compared"


def test_more_outputs_or_dimensions_than_the_tables_hold_are_not_read() -> None:
    good = answer()
    assert native.compare(good, delimited(5, b"") * 257, TOLERANCE)["status"] == "shadow unreadable"
    assert native.compare(good, delimited(6, b"") * 257, TOLERANCE)["status"] == "shadow unreadable"
    assert native.compare(good, delimited(5, delimited(3, b"\x01" * 17)), TOLERANCE)["status"] == "shadow unreadable"
    assert native.compare(good, delimited(5, b"") * 256, TOLERANCE)["extra"] == 256


# ---- pairs ----

VALUES = st.sampled_from([0.0, -0.0, 1.0, 1.001, 1.02, -3.5, 5e-324, 1e300, -1e300, 6e4, float("inf"), float("-inf")])
NUMBERS = VALUES | st.just(float("nan")) | st.floats(-10, 10)
SHAPES = st.sampled_from([[], [0], [1], [3], [2, 1], [2, 2], [1, 3], [2, 3], [2, 2, 2], [2, 0], [0, 5], [-1, 2]])


@st.composite
def outputs(draw: st.DrawFn) -> tuple[Any, Any]:
    """One output as two servers might give it, as fields of InferOutputTensor and raw contents."""
    datatype = draw(st.sampled_from([*oracle.FLOATS, *oracle.WHOLE, "BYTES", "FP8"]))
    shape = draw(SHAPES)
    name = draw(st.sampled_from("abc"))
    elements = max(oip.elements(shape), 0)
    two = []
    for _ in range(2):
        if draw(st.integers(0, 15)) == 0:
            elements += 1
        if datatype == "BYTES":
            values: Any = draw(st.lists(st.sampled_from([b"", b"x", b"yy"]), min_size=elements, max_size=elements))
            raw = oip.raw_strings(values)
        elif datatype in oracle.FLOATS:
            values = draw(st.lists(NUMBERS, min_size=elements, max_size=elements))
            with np.errstate(over="ignore"):
                raw = np.array(values, np.float64).astype(oracle.FLOATS[datatype]).tobytes()
        else:
            values = draw(st.lists(st.sampled_from([0, 1, 2, 100]), min_size=elements, max_size=elements))
            raw = b"".join(struct.pack(oracle.WHOLE.get(datatype, "B"), v) for v in values)
            raw = raw.replace(b"\1", b"\3", draw(st.integers(0, 1))) if datatype == "BOOL" else raw
        own_name = draw(st.sampled_from([name] * 8 + ["other"]))
        own_shape = draw(st.sampled_from([shape] * 8 + [[1], [2, 2]]))
        own_type = draw(st.sampled_from([datatype] * 8 + ["FP32"]))
        two.append(({"name": own_name, "datatype": own_type, "shape": own_shape}, values, raw))
    return two[0], two[1]


def encoded(tensors: list[tuple[Any, Any, bytes]], typed: bool) -> bytes:
    message = oip.message_class("ModelInferResponse")()
    for fields, values, raw in tensors:
        output = message.outputs.add(**fields)
        field = oip.TYPED.get(fields["datatype"], ("",))[0]
        if typed and field:
            try:
                getattr(output.contents, field).extend(values)
            except (TypeError, ValueError):
                output.ClearField("contents")
        elif not typed:
            message.raw_output_contents.append(raw)
    return bytes(message.SerializeToString())


@settings(max_examples=600, deadline=None)
@given(st.lists(outputs(), max_size=4), st.booleans(), st.booleans(), st.booleans())
def test_pairs_of_any_outputs_mean_what_plain_python_says(two: Any, typed: bool, also: bool, turned: bool) -> None:
    mine, other = [one for one, _ in two], [other for _, other in two]
    assert_agrees(encoded(mine, typed), encoded(other[::-1] if turned else other, also))


@settings(max_examples=100, deadline=None)
@given(st.lists(outputs(), max_size=4), st.booleans())
def test_an_answer_agrees_with_itself(two: Any, typed: bool) -> None:
    message = encoded([one for one, _ in two], typed)
    seen = native.compare(message, message, TOLERANCE)
    if seen["status"] == "compared" and len({one[0]["name"] for one, _ in two}) == len(two):
        assert seen["disagreement"] == 0.0
        assert seen["relative_max"] == 0.0


def test_scores_disagree_by_the_largest_of_each_row() -> None:
    mine = answer(p=floats([0.1, 0.9], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]))
    other = answer(p=floats([0.2, 0.8], [0.4, 0.6], [0.3, 0.7], [0.9, 0.1]))
    seen = native.compare(mine, other, TOLERANCE)
    assert (seen["labels"], seen["labels_differ"], seen["disagreement"]) == (4, 1, 0.25)
    assert seen["absolute_max"] == pytest.approx(0.3, rel=1e-6)
    assert [pair[0] for pair in seen["scores"]] == pytest.approx([0.9, 0.3, 0.8, 0.4])


def test_of_more_than_two_columns_the_score_is_the_one_at_the_primarys_label() -> None:
    seen = native.compare(answer(p=floats([0.1, 0.7, 0.2])), answer(p=floats([0.5, 0.3, 0.2])), TOLERANCE)
    assert seen["scores"] == [pytest.approx((0.7, 0.3))]


def test_numbers_without_labels_disagree_beyond_the_tolerance() -> None:
    seen = native.compare(answer(y=floats(1, 2, 3, 4)), answer(y=floats(1, 2.001, 3.5, 4)), TOLERANCE)
    assert (seen["labels"], seen["numbers"], seen["beyond"], seen["disagreement"]) == (0, 4, 1, 0.25)


def test_a_nan_on_one_side_is_a_disagreement_and_on_both_is_none() -> None:
    nan = float("nan")
    seen = native.compare(answer(p=floats([nan, 1], [nan, 1])), answer(p=floats([nan, 1], [2, 1])), TOLERANCE)
    assert (seen["nan_both"], seen["nan_primary"], seen["nan_shadow"]) == (1, 1, 0)
    assert (seen["labels"], seen["labels_differ"], seen["differences"]) == (2, 1, 2)


def test_another_form_is_a_whole_disagreement() -> None:
    mine = answer(label=np.array([1, 2, 3]), p=floats([0.1, 0.9]))
    for other, field in [
        (answer(label=np.array([1, 2, 3])), "missing"),
        (answer(label=np.array([1, 2, 3], np.int32), p=floats([0.1, 0.9])), "datatype"),
        (answer(label=np.array([[1, 2, 3]]), p=floats([0.1, 0.9])), "shape"),
        (answer(label=("INT64", [3], bytes(23)), p=floats([0.1, 0.9])), "unreadable"),
    ]:
        seen = native.compare(mine, other, TOLERANCE)
        assert (seen[field], seen["disagreement"]) == (1, 1.0)
    extra = native.compare(mine, mine[:0] + answer(label=np.array([1, 2, 3]), p=floats([0.1, 0.9]), q=floats(1)), 0.01)
    assert (extra["extra"], extra["disagreement"]) == (1, 0.0)


def test_outputs_are_paired_by_name_wherever_they_stand() -> None:
    mine = answer(a=np.array([1]), b=[b"x"], c=floats([0.5, 0.2]))
    other = answer(c=floats([0.5, 0.2]), a=np.array([1]), b=[b"x"])
    seen = native.compare(mine, other, TOLERANCE)
    assert (seen["outputs"], seen["missing"], seen["extra"], seen["disagreement"]) == (3, 0, 0, 0.0)


def test_no_more_than_a_bounded_number_of_elements_is_looked_at() -> None:
    mine, other = np.zeros(10_000), np.zeros(10_000)
    other[5000:] = 1.0
    seen = native.compare(answer(y=mine), answer(y=other), TOLERANCE)
    assert (seen["numbers"], seen["unseen"], seen["disagreement"]) == (4096, 5904, 0.0)
    wide = answer(y=np.zeros((2, 5000)))
    seen = native.compare(wide, wide, TOLERANCE)
    assert (seen["labels"], seen["numbers"], seen["unseen"]) == (0, 4096, 5904)
    many = answer(**{f"y{i}": floats(1.0) for i in range(40)})
    seen = native.compare(many, many, TOLERANCE)
    assert (seen["outputs"], seen["unseen"], seen["extra"], seen["missing"]) == (32, 8, 0, 0)
    strings = answer(s=[b""] * 5000)
    assert native.compare(strings, strings, TOLERANCE)["unseen"] == 904


def test_of_typed_contents_no_more_is_converted_than_is_looked_at() -> None:
    def typed(datatype: str, **contents: list[Any]) -> bytes:
        (values,) = contents.values()
        output = {"name": "y", "datatype": datatype, "shape": [len(values)], "contents": contents}
        return bytes(oip.message_class("ModelInferResponse")(outputs=[output]).SerializeToString())

    for datatype, field, value in (
        ("INT64", "int64_contents", 1),
        ("FP32", "fp32_contents", 1.0),
        ("BYTES", "bytes_contents", b"abc"),
        ("UINT8", "uint_contents", 255),
    ):
        one = typed(datatype, **{field: [value] * 5000})
        other = typed(datatype, **{field: [value] * 4095 + [type(value)()] * 905})
        assert assert_agrees(one, other) == "compared"
        seen = native.compare(one, other, TOLERANCE)
        assert (seen["labels"] + seen["numbers"], seen["labels_differ"] + seen["beyond"]) == (4096, 1)
        assert seen["unseen"] == 904
    assert native.compare(answer(), typed("UINT8", uint_contents=[256] * 9), TOLERANCE)["status"] == "compared"
    wrong = native.compare(answer(y=np.zeros(9, np.uint8)), typed("UINT8", uint_contents=[256] * 9), TOLERANCE)
    assert (wrong["unreadable"], wrong["disagreement"]) == (1, 1.0)


def test_typed_contents_of_an_upstream_are_compared_with_raw_ones() -> None:
    message = oip.message_class("ModelInferResponse")(
        outputs=[{"name": "label", "datatype": "INT64", "shape": [2], "contents": {"int64_contents": [1, -2]}}]
    )
    seen = native.compare(answer(label=np.array([1, -2])), message.SerializeToString(), TOLERANCE)
    assert (seen["outputs"], seen["labels"], seen["disagreement"]) == (1, 2, 0.0)


@pytest.mark.parametrize("bits", [0x0000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x8001, 0xFBFF, 0x7C00])
def test_every_kind_of_half_is_the_number_it_says(bits: int) -> None:
    half = ("FP16", [1], struct.pack("<H", bits))
    (value,) = np.frombuffer(half[2], np.float16).astype(np.float64)
    seen = native.compare(answer(y=half), answer(y=("FP16", [1], bytes(2))), TOLERANCE)
    assert seen["absolute_max"] == (0.0 if np.isinf(value) else abs(value))
    assert seen["beyond"] == (value != 0)


# ---- figures ----


def test_cells_of_scores_hold_what_lies_between_their_edges() -> None:
    edges = SCORE_EDGES
    assert all(low < high for low, high in pairwise(edges))
    for cell, edge in enumerate(edges):
        below, above = np.nextafter(edge, -np.inf), np.nextafter(edge, np.inf)
        at = cell + 1 if edge > 0 else cell  # an edge belongs to the cell further from zero
        assert (score_cell(below), score_cell(edge), score_cell(above)) == (cell, at, cell + 1)
    assert score_cell(0.0) == score_cell(-0.0) == len(edges) // 2
    assert (score_cell(float("-inf")), score_cell(float("inf"))) == (0, len(edges))


def record(figures: Stats, two: Any, random: Random) -> dict[str, Any]:
    mine, other = encoded([one for one, _ in two], False), encoded([other for _, other in two], False)
    figures.record(mine, other, TOLERANCE, random.randrange(10**9), random.randrange(10**9))
    return oracle.compare(mine, other, TOLERANCE)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(outputs(), max_size=3), max_size=8), st.randoms(use_true_random=False))
def test_figures_are_the_sums_of_their_pairs_and_add_up(pairs: Any, random: Random) -> None:
    figures, half, rest = Stats(), Stats(), Stats()
    seed = random.getrandbits(32)
    found = [record(figures, two, Random(seed + i)) for i, two in enumerate(pairs)]
    for i, two in enumerate(pairs):
        record(half if i % 2 else rest, two, Random(seed + i))
    half.add(rest)
    sums, added = figures.sums(), half.sums()
    compared = [pair for pair in found if pair["status"] != "primary unreadable"]
    assert sums["compared"] == len(compared)
    assert sums["dropped"]["void"] == len(found) - len(compared)
    assert sums["disagreement"] == pytest.approx(sum(pair["disagreement"] for pair in compared))
    assert sums["disagreement"] <= sums["compared"]
    for name in oracle.COUNTS:
        if name in sums:
            assert sums[name] == sum(pair[name] for pair in compared)  # type: ignore[literal-required]
    assert sums["absolute_max"] == max((pair["absolute_max"] for pair in compared), default=0.0)
    scores = [pair for one in compared for pair in one["scores"]]
    assert figures.scores() == scores[-WINDOW:]
    for side, column in enumerate(("score_primary", "score_shadow")):
        cells = np.bincount([score_cell(pair[side]) for pair in scores], minlength=len(SCORE_EDGES) + 1)
        assert sums[column] == cells.tolist()  # type: ignore[literal-required]
    assert sum(sums["latency_primary"]) == sum(sums["latency_shadow"]) == sums["compared"]
    for name, value in sums.items():
        assert added[name] == (pytest.approx(value) if isinstance(value, float) else value)  # type: ignore[literal-required]


def test_pairs_that_failed_are_counted_by_who_failed() -> None:
    figures = Stats()
    for primary, shadow in [(True, False), (False, True), (False, True), (True, True), (False, False)]:
        figures.fail(primary, shadow)
    sums = figures.sums()
    assert (sums["primary_failed"], sums["shadow_failed"], sums["both_failed"], sums["compared"]) == (1, 2, 1, 0)


def test_the_window_keeps_the_last_scores_and_latencies_are_in_the_cells_of_histograms() -> None:
    figures = Stats()
    for i in range(WINDOW + 10):
        figures.record(answer(y=floats(i)), answer(y=floats(-i)), primary_ns=1_000_000, shadow_ns=2_000_000)
    assert figures.scores() == [(float(i), -float(i)) for i in range(10, WINDOW + 10)]
    assert figures.sums()["latency_shadow"][EDGES.index(2_000_000)] == WINDOW + 10


def test_the_figures_of_a_shadow_take_less_than_eight_kibibytes() -> None:
    assert SIZE < 8192
