"""The reply writer held against protobuf: what it writes parses to the message that was wanted."""

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelward_native.testing import scan
from tests.oracle import oip

Output = tuple[str, str, list[int], bytes]
texts = st.text(max_size=40) | st.sampled_from(["", "x" * 127, "x" * 128, "x" * 20_000])
dimensions = st.integers(0, 300) | st.integers(-(2**63), 2**63 - 1)
outputs = st.tuples(
    texts, st.sampled_from([*oip.TYPED, "FP16", "BF16"]), st.lists(dimensions, max_size=16), st.binary(max_size=200)
)
replies = st.fixed_dictionaries(
    {
        "model_name": texts,
        "model_version": texts,
        "id": texts,
        "fallback": texts,
        "fallback_source": texts,
        "restricted": texts,
        "anomaly_score": st.none() | st.floats(allow_nan=False),
        "anomaly": st.none() | st.booleans(),
        "final_response": st.booleans(),
        "outputs": st.lists(outputs, max_size=4),
    }
)


@given(answer=replies, error=texts)
def test_the_answer_in_a_message_of_a_stream_is_found_and_an_error_has_none(answer: dict[str, Any], error: str) -> None:
    message = wanted(answer).SerializeToString()
    whole = oip.message_class("ModelStreamInferResponse")(error_message=error)
    whole.infer_response.SetInParent()
    framed = whole.infer_response.FromString(message).SerializeToString()
    whole.infer_response.MergeFromString(framed)
    found = scan.stream_response(whole.SerializeToString())
    assert found is not None
    assert oip.message_class("ModelInferResponse").FromString(found) == wanted(answer)
    failed = oip.message_class("ModelStreamInferResponse")(error_message=error)
    assert scan.stream_response(failed.SerializeToString()) == b""


def test_a_plain_answer_on_a_stream_is_its_own_and_of_two_none_is_chosen() -> None:
    plain = oip.message_class("ModelInferResponse")(model_name="m", model_version="1", id="a").SerializeToString()
    assert scan.stream_response(plain) == plain
    one = oip.message_class("ModelStreamInferResponse")(infer_response={"model_name": "m"}).SerializeToString()
    assert scan.stream_response(one + one) is None
    assert scan.stream_response(one[:-1]) is None


def wanted(reply: dict[str, Any]) -> Any:
    message = oip.message_class("ModelInferResponse")(
        model_name=reply["model_name"], model_version=reply["model_version"], id=reply["id"]
    )
    for key in ("fallback", "fallback_source", "restricted"):
        if reply[key]:
            message.parameters[f"modelward_{key}"].string_param = reply[key]
    if reply["anomaly_score"] is not None:
        message.parameters["modelward_anomaly_score"].double_param = reply["anomaly_score"]
    if reply["anomaly"] is not None:
        message.parameters["modelward_anomaly"].bool_param = reply["anomaly"]
    if reply["final_response"]:
        message.parameters["triton_final_response"].bool_param = True
    for name, datatype, shape, raw in reply["outputs"]:
        message.outputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_output_contents.append(raw)
    return message


def parsed(message: bytes) -> Any:
    return oip.message_class("ModelInferResponse").FromString(message)


@given(replies)
def test_a_reply_parses_to_the_message_that_was_wanted(reply: dict[str, Any]) -> None:
    assert parsed(scan.reply(**reply)) == wanted(reply)


@given(replies)
def test_a_reply_is_as_short_as_protobuf_writes_it(reply: dict[str, Any]) -> None:
    assert len(scan.reply(**reply)) == wanted(reply).ByteSize()


@given(replies)
def test_raw_elements_gathered_afterwards_land_in_their_places(reply: dict[str, Any]) -> None:
    assert scan.reply(**reply, gather=True) == scan.reply(**reply)


@given(replies)
@example({"model_name": "", "outputs": []})
@example({"model_name": "x" * 20_000, "outputs": []})
def test_a_streamed_reply_is_the_infer_response_of_a_stream_message(reply: dict[str, Any]) -> None:
    streamed = oip.message_class("ModelStreamInferResponse").FromString(scan.reply(**reply, stream=True))
    assert streamed.HasField("infer_response")
    assert not streamed.error_message
    assert streamed.infer_response.SerializeToString(deterministic=True) == parsed(
        scan.reply(**reply)
    ).SerializeToString(deterministic=True)


def test_an_empty_reply_has_no_bytes() -> None:
    assert scan.reply() == b""


def test_an_output_without_rows_still_has_its_raw_contents() -> None:
    message = parsed(scan.reply(outputs=[("rows", "FP32", [0, 3], b""), ("label", "INT64", [0], b"")]))
    assert list(message.raw_output_contents) == [b"", b""]
    assert list(message.outputs[0].shape) == [0, 3]


def test_a_scalar_output_has_no_shape() -> None:
    assert list(parsed(scan.reply(outputs=[("x", "FP64", [], b"\0" * 8)])).outputs[0].shape) == []


def test_an_answer_that_is_no_anomaly_says_so() -> None:
    parameter = parsed(scan.reply(anomaly=False)).parameters["modelward_anomaly"]
    assert parameter.WhichOneof("parameter_choice") == "bool_param"
    assert parameter.bool_param is False


def test_an_anomaly_score_of_zero_is_written_and_a_missing_one_is_not() -> None:
    assert parsed(scan.reply(anomaly_score=0.0)).parameters["modelward_anomaly_score"].HasField("double_param")
    assert "modelward_anomaly_score" not in parsed(scan.reply(anomaly=True, fallback="deadline")).parameters


def test_a_score_that_is_no_number_stays_none() -> None:
    assert math.isnan(parsed(scan.reply(anomaly_score=math.nan)).parameters["modelward_anomaly_score"].double_param)


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [(("x", "STRING", [1], b""), "STRING"), (("x", "FP32", [1] * 17, b""), "too many dimensions")],
    ids=["datatype", "rank"],
)
def test_an_output_that_cannot_be_written_is_refused(wrong: Output, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        scan.reply(outputs=[wrong])


def test_more_outputs_than_the_table_holds_are_refused() -> None:
    one = ("x", "BOOL", [1], b"\1")
    assert len(parsed(scan.reply(outputs=[one] * 256)).outputs) == 256
    with pytest.raises(ValueError, match="too many outputs"):
        scan.reply(outputs=[one] * 257)
