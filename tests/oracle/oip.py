"""The slow twin of request/oip.c: protobuf's own parser, and the meaning of what it found in plain Python."""

import re
import struct
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from grpc_tools import protoc

FIELD = descriptor_pb2.FieldDescriptorProto
PROTOS = Path(__file__).parents[2] / "protos"
MOST_TENSORS = 256
MOST_DIMENSIONS = 16
KINDS = {
    1: "bool_contents",
    2: "int_contents",
    3: "int64_contents",
    4: "uint_contents",
    5: "uint64_contents",
    6: "fp32_contents",
    7: "fp64_contents",
    8: "bytes_contents",
}
# datatype -> field of InferTensorContents, struct format of one raw element
TYPED = {
    "BOOL": ("bool_contents", "?"),
    "INT8": ("int_contents", "b"),
    "INT16": ("int_contents", "h"),
    "INT32": ("int_contents", "i"),
    "INT64": ("int64_contents", "q"),
    "UINT8": ("uint_contents", "B"),
    "UINT16": ("uint_contents", "H"),
    "UINT32": ("uint_contents", "I"),
    "UINT64": ("uint64_contents", "Q"),
    "FP32": ("fp32_contents", "I"),
    "FP64": ("fp64_contents", "Q"),  # bits: see _lay_bare
    "BYTES": ("bytes_contents", ""),
}


@cache
def _files() -> descriptor_pb2.FileDescriptorSet:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "descriptors.pb")
        arguments = ["protoc", f"-I{PROTOS}", "--include_imports", f"--descriptor_set_out={target}", "inference.proto"]
        if protoc.main(arguments):
            raise RuntimeError("protoc refused protos/inference.proto")
        return descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())


def _lay_bare(messages: Iterable[descriptor_pb2.DescriptorProto]) -> None:
    """Turns map entries into what they are on the wire, a repeated message whose entries show even where upb hides them
    from a map because of an unknown field, and floats into their bits, since Python quiets signalling NaNs."""
    bits = {FIELD.TYPE_FLOAT: FIELD.TYPE_FIXED32, FIELD.TYPE_DOUBLE: FIELD.TYPE_FIXED64}
    for message in messages:
        message.options.ClearField("map_entry")
        for field in message.field:
            field.type = bits.get(field.type, field.type)
        _lay_bare(message.nested_type)


@cache
def message_class(name: str, bare: bool = False) -> Any:
    """A class of package `inference`, from a pool of its own; `bare` as in `_lay_bare`."""
    pool = descriptor_pool.DescriptorPool()
    for file in _files().file:
        own = descriptor_pb2.FileDescriptorProto.FromString(file.SerializeToString())
        if bare:
            _lay_bare(own.message_type)
        pool.Add(own)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}"))


def parse(message: bytes) -> Any:
    """The ModelInferRequest laid bare, or None where protobuf refuses it."""
    try:
        message_class("ModelInferRequest").FromString(message)
    except DecodeError:
        return None
    return message_class("ModelInferRequest", bare=True).FromString(message)


def fits(request: Any) -> bool:
    """Whether the scanner's fixed tables hold the request."""
    return max(len(request.inputs), len(request.outputs), len(request.raw_input_contents)) <= MOST_TENSORS and all(
        len(tensor.shape) <= MOST_DIMENSIONS for tensor in request.inputs
    )


def _last(entries: Any, key: str) -> Any:
    return next((entry.value for entry in reversed(entries) if entry.key == key), None)


def _whole_number(parameter: Any) -> int | None:
    match parameter.WhichOneof("parameter_choice"):
        case "uint64_param":
            return int(parameter.uint64_param)
        case "int64_param" if parameter.int64_param >= 0:
            return int(parameter.int64_param)
        case "string_param" if re.fullmatch("[0-9]+", parameter.string_param):
            return min(int(parameter.string_param), 2**64 - 1)
    return None


def _limit(entries: Any, key: str, most: int) -> tuple[int, bool]:
    parameter = _last(entries, key)
    if parameter is None:
        return 0, False
    number = _whole_number(parameter)
    return (0, True) if number is None else (min(number, most), False)


def _is_given(entries: Any, key: str) -> bool:
    parameter = _last(entries, key)
    choice = parameter and parameter.WhichOneof("parameter_choice")
    return bool(choice) and (choice == "double_param" or bool(getattr(parameter, choice)))


def _shared_memory(entries: Any) -> bool:
    return any(entry.key.startswith("shared_memory_") for entry in entries)


def _input(tensor: Any) -> dict[str, Any]:
    counts = {kind: len(getattr(tensor.contents, field)) for kind, field in KINDS.items()}
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "shared_memory": _shared_memory(tensor.parameters),
        "has_contents": tensor.HasField("contents"),
        "contents": {kind: count for kind, count in counts.items() if count},
        "contents_bytes": sum(map(len, tensor.contents.bytes_contents)),
    }


def scan(request: Any) -> dict[str, Any]:
    """What modelward_native.testing.scan.scan returns for a parsed request."""
    timeout, timeout_invalid = _limit(request.parameters, "timeout", 2**63 - 1)
    priority, priority_invalid = _limit(request.parameters, "priority", 2**64 - 1)
    return {
        "model_name": request.model_name,
        "model_version": request.model_version,
        "id": request.id,
        "inputs": [_input(tensor) for tensor in request.inputs],
        "outputs": [
            {
                "name": output.name,
                "shared_memory": _shared_memory(output.parameters),
                "classification": _is_given(output.parameters, "classification"),
            }
            for output in request.outputs
        ],
        "raw": list(request.raw_input_contents),
        "timeout_us": timeout,
        "timeout_invalid": timeout_invalid,
        "priority": priority,
        "priority_invalid": priority_invalid,
        "sequence": _is_given(request.parameters, "sequence_id"),
    }


def contents(tensor: Any, datatype: str) -> bytes | None:
    """The raw form of a parsed input's typed contents, or None where a value does not fit the datatype."""
    field, element = TYPED[datatype]
    values = getattr(tensor.contents, field)
    if datatype == "BYTES":
        return raw_strings(values)
    try:
        return struct.pack(f"<{len(values)}{element}", *values)
    except struct.error:
        return None


def raw_strings(values: Iterable[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def elements(shape: Sequence[int]) -> int:
    product = 1
    for dimension in shape:
        product *= dimension or 1
    if any(dimension < 0 for dimension in shape) or product > 2**59:
        return -1
    return 0 if 0 in shape else product
