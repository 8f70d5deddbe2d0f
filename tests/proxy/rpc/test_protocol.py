from __future__ import annotations

import importlib
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool

from modelward.rpc import protocol
from modelward.rpc.protocol import Code, DescriptorsMissing, Malformed, RpcError, clip, message_class, parse


def test_codes_are_grpcs_own() -> None:
    assert {code.name: code.value for code in Code} == {s.name: s.value[0] for s in grpc.StatusCode}


def test_messages_come_from_a_pool_that_no_other_library_uses() -> None:
    ours = message_class("inference.ModelInferRequest")
    assert ours.DESCRIPTOR.file.pool is not descriptor_pool.Default()


def test_our_messages_live_beside_tritonclients_and_read_each_other() -> None:
    theirs = importlib.import_module("tritonclient.grpc").service_pb2.ModelMetadataResponse
    sent = message_class("inference.ModelMetadataResponse")(name="m", versions=["1"])
    sent.inputs.add(name="x", datatype="FP32", shape=[-1, 4])
    received = theirs.FromString(sent.SerializeToString())
    assert (received.name, received.inputs[0].shape) == ("m", [-1, 4])


NAMES_OF_REFERENCE = {"UpstreamModelMetadata": "ModelMetadataResponse"}


def test_every_field_that_we_describe_has_tritons_number_and_type() -> None:
    theirs = importlib.import_module("tritonclient.grpc").service_pb2.DESCRIPTOR.pool
    for file in ("inference.proto", "model_config.proto"):
        for name, ours in protocol.pool().FindFileByName(file).message_types_by_name.items():
            reference = theirs.FindMessageTypeByName(f"inference.{NAMES_OF_REFERENCE.get(name, name)}")
            for field in ours.fields:
                if (name, field.name) == ("ModelMetadataResponse", "properties"):
                    continue  # the protocol's, which Triton lacks
                twin = reference.fields_by_name[field.name]
                assert (field.number, field.type) == (twin.number, twin.type), f"{name}.{field.name}"


def test_a_missing_descriptor_set_is_reported_with_the_command_that_builds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(protocol, "DESCRIPTORS", tmp_path / "descriptors.pb")
    with pytest.raises(DescriptorsMissing, match=r"descriptors\.pb is missing.*grpc_tools\.protoc"):
        protocol.file_set.__wrapped__()


def test_what_is_no_message_is_malformed() -> None:
    request = message_class("inference.ModelMetadataRequest")
    assert parse(request, request(name="m").SerializeToString()) == request(name="m")
    with pytest.raises(Malformed):
        parse(request, b"\xff")


def test_an_error_keeps_its_code_message_and_reason() -> None:
    error = RpcError(5, "unknown model", "UNKNOWN_MODEL")
    assert (error.code, error.message, error.reason) == (Code.NOT_FOUND, "unknown model", "UNKNOWN_MODEL")


def test_long_text_is_clipped_before_it_is_repeated() -> None:
    assert clip("short") == "short"
    assert clip("x" * 100_000) == "x" * 96 + "... (100000 characters)"
