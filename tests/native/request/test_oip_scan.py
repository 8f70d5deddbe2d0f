"""The request scanner held against protobuf's own parser, on messages no library would write and on broken ones."""

import re
import struct
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelward_native.testing import scan
from tests.oracle import oip
from tests.oracle.agreement import assert_agrees
from tests.oracle.wire import GROUP, LEN, VARINT, Writer, delimited, groups, tag, varint

randoms = st.randoms(use_true_random=False)


def request(**fields: Any) -> Any:
    return oip.message_class("ModelInferRequest")(**fields)


def parameters(**values: Any) -> bytes:
    """A request with the given parameters; each value is a pair of field of InferParameter and value."""
    message = request()
    for key, (field, value) in values.items():
        setattr(message.parameters[key], field, value)
    return bytes(message.SerializeToString())


def typed(**fields: Any) -> bytes:
    return bytes(request(inputs=[{"contents": fields}]).SerializeToString())


@settings(max_examples=300, deadline=None)
@given(randoms)
def test_every_encoding_of_a_request_means_what_protobuf_says(random: Random) -> None:
    message = Writer(random).request()
    assert oip.parse(message) is not None
    assert_agrees(message)


@settings(max_examples=300, deadline=None)
@given(randoms)
def test_a_damaged_request_is_refused_where_protobuf_refuses_it(random: Random) -> None:
    assert_agrees(Writer(random, damage=True).request())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
@example(b"")
def test_noise_is_refused_where_protobuf_refuses_it(message: bytes) -> None:
    assert_agrees(message)


@pytest.mark.parametrize("damage", [False, True], ids=["whole", "damaged"])
def test_five_thousand_fixed_seeds_agree_with_protobuf(damage: bool) -> None:
    taken = sum(assert_agrees(Writer(Random(seed), damage).request()) for seed in range(5000))
    assert 1000 < taken < 4000 if damage else 4900 < taken <= 5000  # a few have more dimensions than the tables hold


def test_every_prefix_of_a_request_is_judged_as_protobuf_judges_it() -> None:
    message = parameters(timeout=("int64_param", 5), sequence_id=("string_param", "a")) + typed(
        int_contents=[1, -1], bytes_contents=[b"ab"], fp64_contents=[1.0]
    )
    verdicts = {assert_agrees(message[:end]) for end in range(len(message) + 1)}
    assert verdicts == {True, False}


INPUT, CONTENTS, ENTRY = 5, 5, 4

ACCEPTED = {
    "an empty message": b"",
    "a model name sent twice": delimited(1, b"a") + delimited(1, b"b"),
    "an empty model name after another": delimited(1, b"a") + delimited(1, b""),
    "a tag of five bytes": b"\x8a\x80\x80\x80\x00\x01a",
    "the highest field number": b"\xf8\xff\xff\xff\x0f\x01",
    "a length of ten bytes": b"\x0a" + varint(1, 10) + b"a",
    "a length whose bits past the 64th are set": b"\x0a" + varint(1 | 0x3F << 64) + b"a",
    "a dimension whose bits past the 64th are set": delimited(INPUT, b"\x18" + b"\xff" * 9 + b"\x7f"),
    "a dimension of zero in ten bytes": delimited(INPUT, b"\x18" + varint(0, 10)),
    "a wrong wire type": tag(1, VARINT) + b"\x01",
    "a group in place of a string": b"\x0b\x0c",
    "fp32_contents sent as a varint": delimited(INPUT, delimited(CONTENTS, b"\x30\x01")),
    "a shape sent as fixed64": delimited(INPUT, b"\x19" + b"\0" * 8),
    "groups a hundred deep": groups(100),
    "groups ninety-nine deep in an input": delimited(INPUT, groups(99)),
    "groups ninety-eight deep in contents": delimited(INPUT, delimited(CONTENTS, groups(98))),
    "groups ninety-eight deep in a parameter": delimited(ENTRY, delimited(2, groups(98))),
    "groups ninety-seven deep in an input's parameter": delimited(INPUT, delimited(ENTRY, delimited(2, groups(97)))),
    "groups ninety-seven deep in an output's parameter": delimited(6, delimited(2, delimited(2, groups(97)))),
    "an end of group in four bytes more than needed": b"\x43\xc4\x80\x80\x80\x00",
    "a parameter without key": delimited(ENTRY, delimited(2, b"\x08\x01")),
    "a parameter without value": delimited(ENTRY, delimited(1, b"timeout")),
    "a parameter without either": delimited(ENTRY, b""),
    "a later parameter of the same key": b"".join(
        delimited(ENTRY, delimited(1, b"timeout") + delimited(2, b"\x10" + n)) for n in (b"\x07", b"\x08")
    ),
    "two values in one parameter": delimited(
        ENTRY, delimited(1, b"timeout") + delimited(2, b"\x10\x07") + delimited(2, b"")
    ),
    "two choices in one value": delimited(ENTRY, delimited(1, b"timeout") + delimited(2, b"\x10\x07\x1a\x012")),
    "contents sent twice": delimited(INPUT, delimited(CONTENTS, b"\x10\x01") + delimited(CONTENTS, b"\x10\x02")),
    "packed and single elements": delimited(INPUT, delimited(CONTENTS, b"\x12\x02\x01\x02\x10\x03\x12\x00\x10\x04")),
    "an int32 of more than 32 bits": delimited(INPUT, delimited(CONTENTS, b"\x10" + varint(0x7_FFFF_FF85))),
    "a bool with only high bits": delimited(INPUT, delimited(CONTENTS, b"\x08" + varint(1 << 40))),
    "a NUL in a name": delimited(1, b"\0"),
    "the last code point": delimited(1, b"\xf4\x8f\xbf\xbf"),
    "bytes that are no text": delimited(7, b"\xff"),
}

MALFORMED = {
    "field number zero": b"\x00\x01",
    "field number zero in a group": b"\x43\x00\x01\x44",
    "group number zero": b"\x03\x04",
    "a field number of thirty bits": b"\xf8\xff\xff\xff\x10\x01",
    "a tag of six bytes": b"\x8a\x80\x80\x80\x80\x00\x01a",
    "a varint of eleven bytes": b"\x40" + varint(1, 11),
    "a length of eleven bytes": b"\x0a" + varint(1, 11) + b"a",
    "a length of two gigabytes": b"\x0a" + varint(2**31) + b"a",
    "the longest length, without its bytes": b"\x0a" + varint(2**31 - 1) + b"a",
    "a length of 2^64 - 1": b"\x0a" + varint(2**64 - 1) + b"a",
    "a length that passes the enclosing message": delimited(INPUT, b"\x0a\x02a") + b"a",
    "a fixed32 cut short": b"\x45\x00\x00\x00",
    "a fixed64 cut short": b"\x41" + b"\0" * 7,
    "wire type six": b"\x46",
    "wire type seven": b"\x47",
    "an end of group that closes nothing": b"\x0c",
    "an end of group that closes the input": delimited(INPUT, b"\x2c"),
    "a group closed by another number": b"\x43\x4c",
    "a group left open": b"\x43",
    "a group closed outside its message": delimited(INPUT, b"\x43") + b"\x44",
    "groups a hundred and one deep": groups(101),
    "groups a hundred deep in an input": delimited(INPUT, groups(100)),
    "groups ninety-nine deep in contents": delimited(INPUT, delimited(CONTENTS, groups(99))),
    "groups ninety-eight deep in an input's parameter": delimited(INPUT, delimited(ENTRY, delimited(2, groups(98)))),
    "a million open groups": tag(8, GROUP) * 1_000_000,
    "packed floats of five bytes": delimited(INPUT, delimited(CONTENTS, delimited(6, b"\0" * 5))),
    "packed doubles of four bytes": delimited(INPUT, delimited(CONTENTS, delimited(7, b"\0" * 4))),
    "a packed varint that runs on": delimited(INPUT, delimited(3, b"\x80") + b"\x01"),
    "packed elements that run on": delimited(INPUT, delimited(CONTENTS, delimited(2, b"\x01\x80") + b"\x01")),
    "a packed element of eleven bytes": delimited(INPUT, delimited(CONTENTS, delimited(2, varint(1, 11)))),
    "a model name that is no text": delimited(1, b"\xff"),
    "a model name cut inside a character": delimited(1, b"model \xe2\x82"),
    "an overlong slash": delimited(1, b"\xc0\xaf"),
    "a surrogate": delimited(2, b"\xed\xa0\x80"),
    "past the last code point": delimited(3, b"\xf4\x90\x80\x80"),
    "a datatype that is no text": delimited(INPUT, delimited(2, b"\x80")),
    "an output name that is no text": delimited(6, delimited(1, b"\x80")),
    "a key that is no text, overwritten": delimited(ENTRY, delimited(1, b"\xff") + delimited(1, b"a")),
    "a parameter that is no text, overwritten": delimited(ENTRY, delimited(2, delimited(3, b"\xff") + b"\x08\x01")),
    "a parameter of an input that is no text": delimited(INPUT, delimited(ENTRY, delimited(2, delimited(3, b"\xff")))),
}


@pytest.mark.parametrize("message", ACCEPTED.values(), ids=ACCEPTED)
def test_what_protobuf_takes_is_taken(message: bytes) -> None:
    assert assert_agrees(message)


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_what_protobuf_refuses_is_malformed(message: bytes) -> None:
    assert oip.parse(message) is None
    with pytest.raises(ValueError, match="malformed"):
        scan.scan(message)


@pytest.mark.parametrize(
    ("field", "fault"),
    [("inputs", "too many inputs"), ("raw_input_contents", "too many inputs"), ("outputs", "too many outputs")],
)
def test_one_tensor_more_than_the_tables_hold_is_refused(field: str, fault: str) -> None:
    one: Any = b"x" if field == "raw_input_contents" else {"name": "x"}
    assert assert_agrees(request(**{field: [one] * 256}).SerializeToString())
    with pytest.raises(ValueError, match=fault):
        scan.scan(request(**{field: [one] * 257}).SerializeToString())


@pytest.mark.parametrize(
    "encode", [lambda n: delimited(3, b"\x01" * n), lambda n: b"\x18\x01" * n], ids=["packed", "single"]
)
def test_one_dimension_more_than_the_tables_hold_is_refused(encode: Any) -> None:
    assert assert_agrees(delimited(INPUT, encode(16)))
    with pytest.raises(ValueError, match="too many dimensions"):
        scan.scan(delimited(INPUT, encode(17)))


def test_a_parameter_beside_an_unknown_field_is_not_hidden() -> None:
    entry = delimited(1, b"shared_memory_region") + delimited(2, b"\x10\x01") + b"\x18\x01"
    message = delimited(INPUT, delimited(ENTRY, entry))
    assert not oip.message_class("ModelInferRequest").FromString(message).inputs[0].parameters  # upb hides it
    assert scan.scan(message)["inputs"][0]["shared_memory"]


ENVELOPE = ("model_name", "model_version", "id", "timeout_us")


def envelope_of(message: bytes) -> dict[str, Any] | None:
    """What is read of a request that passes undecoded; None where it is refused."""
    try:
        return dict(scan.envelope(message))
    except ValueError:
        return None


def named(message: bytes) -> str | None:
    try:
        return scan.model_name(message)
    except ValueError:
        return None


@settings(max_examples=300, deadline=None)
@given(randoms)
def test_the_envelope_of_a_request_is_what_the_whole_scan_says(random: Random) -> None:
    message = Writer(random).request()
    parsed = oip.parse(message)
    assert parsed is not None
    expected = oip.scan(parsed)
    assert envelope_of(message) == {key: expected[key] for key in ENVELOPE}


@settings(max_examples=500, deadline=None)
@given(randoms)
def test_the_envelope_of_a_damaged_request_is_refused_or_agrees_with_the_full_parse(random: Random) -> None:
    message = Writer(random, damage=True).request()
    seen, parsed = envelope_of(message), oip.parse(message)
    if seen is not None:
        assert seen["model_name"] == named(message)
    if parsed is not None:
        expected = oip.scan(parsed)
        assert seen == {key: expected[key] for key in ENVELOPE}


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_what_tensors_hold_does_not_matter_to_the_envelope(inside: bytes, raw: bytes) -> None:
    message = delimited(1, b"m") + delimited(INPUT, inside) + delimited(6, inside) + delimited(7, raw)
    assert envelope_of(message) == {"model_name": "m", "model_version": "", "id": "", "timeout_us": 0}


def test_every_prefix_of_a_request_has_an_envelope_where_its_outermost_fields_are_whole() -> None:
    fields = [delimited(1, b"m"), delimited(ENTRY, b"\xff"), delimited(INPUT, b"\xff\xff"), delimited(3, b"id")]
    whole = {sum(map(len, fields[:i])) for i in range(len(fields) + 1)}
    message = b"".join(fields)
    assert {end for end in range(len(message) + 1) if envelope_of(message[:end]) is not None} == whole


def test_a_parameter_that_is_malformed_does_not_hide_the_timeout_before_it() -> None:
    message = parameters(timeout=("int64_param", 2500)) + delimited(ENTRY, delimited(1, b"timeout") + b"\xff")
    assert scan.envelope(message)["timeout_us"] == 2500


def test_the_model_name_alone_can_be_read_where_an_input_is_broken() -> None:
    message = delimited(INPUT, b"\xff") + delimited(1, "modèle".encode())
    assert scan.model_name(message) == "modèle"
    with pytest.raises(ValueError, match="malformed"):
        scan.model_name(message + b"\x0a\x05")


@pytest.mark.parametrize(
    ("field", "value", "timeout", "invalid"),
    [
        ("int64_param", 2500, 2500, False),
        ("int64_param", 0, 0, False),
        ("int64_param", -1, 0, True),
        ("uint64_param", 2500, 2500, False),
        ("uint64_param", 2**64 - 1, 2**63 - 1, False),
        ("string_param", "2500", 2500, False),
        ("string_param", "9" * 40, 2**63 - 1, False),
        ("string_param", "", 0, True),
        ("string_param", " 5", 0, True),
        ("string_param", "-5", 0, True),
        ("string_param", "5ms", 0, True),
        ("double_param", 5.0, 0, True),
        ("bool_param", True, 0, True),
    ],
)
def test_a_timeout_is_a_whole_number_of_microseconds(field: str, value: Any, timeout: int, invalid: bool) -> None:
    seen = scan.scan(parameters(timeout=(field, value)))
    assert (seen["timeout_us"], seen["timeout_invalid"]) == (timeout, invalid)


def test_the_last_timeout_is_the_one_that_counts() -> None:
    seen = scan.scan(parameters(timeout=("int64_param", -1)) + parameters(timeout=("int64_param", 9)))
    assert (seen["timeout_us"], seen["timeout_invalid"]) == (9, False)


def test_priority_is_read_as_tritonclient_sends_it() -> None:
    assert scan.scan(parameters(priority=("uint64_param", 2)))["priority"] == 2
    assert scan.scan(parameters(priority=("double_param", 2.0)))["priority_invalid"]


@pytest.mark.parametrize(
    ("field", "value", "given"),
    [
        ("int64_param", 0, False),
        ("uint64_param", 0, False),
        ("string_param", "", False),
        ("bool_param", False, False),
        ("int64_param", -1, True),
        ("uint64_param", 7, True),
        ("string_param", "a", True),
        ("double_param", 0.0, True),
    ],
)
def test_a_sequence_is_one_whose_id_is_given(field: str, value: Any, given: bool) -> None:
    assert scan.scan(parameters(sequence_id=(field, value)))["sequence"] is given


def test_classification_and_shared_memory_are_seen_on_an_output() -> None:
    message = request(outputs=[{"name": "a"}, {"name": "b"}, {"name": "c"}])
    message.outputs[1].parameters["classification"].int64_param = 3
    message.outputs[2].parameters["classification"].int64_param = 0
    message.outputs[2].parameters["shared_memory_byte_size"].int64_param = 64
    outputs = scan.scan(message.SerializeToString())["outputs"]
    assert [(o["name"], o["classification"], o["shared_memory"]) for o in outputs] == [
        ("a", False, False),
        ("b", True, False),
        ("c", False, True),
    ]


@pytest.mark.parametrize(
    ("datatype", "fits", "beyond"),
    [
        ("INT8", [-128, 127], [-129, 128, 300]),
        ("INT16", [-(2**15), 2**15 - 1], [-(2**15) - 1, 2**15]),
        ("INT32", [-(2**31), 2**31 - 1], []),
        ("UINT8", [0, 255], [256]),
        ("UINT16", [0, 2**16 - 1], [2**16]),
        ("UINT32", [0, 2**32 - 1], []),
    ],
)
def test_a_typed_integer_beyond_its_datatype_is_refused(datatype: str, fits: list[int], beyond: list[int]) -> None:
    field, element = oip.TYPED[datatype]
    assert scan.contents(typed(**{field: fits}), 0, datatype) == struct.pack(f"<2{element}", *fits)
    for value in beyond:
        with pytest.raises(ValueError, match="does not fit"):
            scan.contents(typed(**{field: [value]}), 0, datatype)


def test_an_int32_keeps_its_low_half_before_it_is_held_against_int8() -> None:
    message = delimited(INPUT, delimited(CONTENTS, b"\x10" + varint(0x7_0000_0085)))
    with pytest.raises(ValueError, match="does not fit"):
        scan.contents(message, 0, "INT8")
    assert scan.contents(message, 0, "INT32") == b"\x85\0\0\0"


def test_typed_contents_of_other_kinds_are_counted_apart() -> None:
    message = typed(int_contents=[1, 2], fp32_contents=[0.5], bytes_contents=[b"abc", b""])
    tensor = scan.scan(message)["inputs"][0]
    assert tensor["contents"] == {2: 2, 6: 1, 8: 2}
    assert tensor["contents_bytes"] == 3
    assert scan.contents(message, 0, "BYTES") == b"\x03\0\0\0abc\0\0\0\0"
    assert scan.contents(message, 0, "FP64") == b""


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "STRING", ""])
def test_half_floats_and_unknown_datatypes_have_no_typed_form(datatype: str) -> None:
    with pytest.raises(ValueError, match="no typed form"):
        scan.contents(typed(fp32_contents=[1.0]), 0, datatype)


@given(st.lists(st.binary(max_size=5), max_size=5), st.integers(-1, 6), st.binary(max_size=3), st.integers(0, 3))
def test_a_bytes_tensor_is_filled_exactly_by_its_strings(
    values: list[bytes], claimed: int, more: bytes, less: int
) -> None:
    raw = oip.raw_strings(values)
    assert scan.bytes_valid(raw, claimed) is (claimed == len(values))
    if more:
        assert not scan.bytes_valid(raw + more, len(values))
    if values and less:
        assert not scan.bytes_valid(raw[:-less], len(values))


def test_a_string_length_past_the_end_is_refused() -> None:
    assert not scan.bytes_valid(b"\xff\xff\xff\xff", 1)
    assert not scan.bytes_valid(b"\x01\0\0\0", 1)
    assert not scan.bytes_valid(b"\0\0\0\0", 2**62)


def test_no_bytes_are_no_strings_but_never_fewer() -> None:
    assert scan.bytes_valid(b"", 0)
    assert not scan.bytes_valid(b"", -1)


dimensions = st.integers(-2, 5) | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**20, 2**31, 2**40])


@given(st.lists(dimensions, max_size=16))
@example([2**59])
@example([2**59 + 1])
@example([2**40, 2**40, 0])
@example([0, -1])
@example([2**32, 2**32])
def test_elements_multiply_without_overflow(shape: list[int]) -> None:
    assert scan.elements(shape) == oip.elements(shape)


def test_faults_are_told_apart() -> None:
    faults = [b"\xff", b"*\x00" * 257, b"2\x00" * 257, delimited(INPUT, b"\x18\x01" * 17)]
    said = []
    for message in faults:
        with pytest.raises(ValueError, match=re.compile("malformed|too many")) as caught:
            scan.scan(message)
        said.append(str(caught.value))
    assert said == ["malformed", "too many inputs", "too many outputs", "too many dimensions"]
    assert tag(INPUT, LEN) == b"*"
