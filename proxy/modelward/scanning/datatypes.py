"""The datatypes of constants: how large their elements are, and which field holds them."""

from __future__ import annotations

from msgspec import Struct
from onnx import TensorProto


class Datatype(Struct, frozen=True):
    """bits: of an element, 0 for texts. numpy: by which its raw bytes are read here, "" for none. field: where its
    values lie where they are not raw."""

    bits: int
    numpy: str
    field: str


_KINDS = {
    "FLOAT": (32, "<f4", "float_data"),
    "DOUBLE": (64, "<f8", "double_data"),
    "INT8": (8, "i1", "int32_data"),
    "INT16": (16, "<i2", "int32_data"),
    "INT32": (32, "<i4", "int32_data"),
    "INT64": (64, "<i8", "int64_data"),
    "UINT8": (8, "u1", "int32_data"),
    "UINT16": (16, "<u2", "int32_data"),
    "UINT32": (32, "<u4", "uint64_data"),
    "UINT64": (64, "<u8", "uint64_data"),
    "BOOL": (8, "?", "int32_data"),
    "STRING": (0, "", "string_data"),
    "FLOAT16": (16, "<f2", "int32_data"),
    "BFLOAT16": (16, "", "int32_data"),
    "COMPLEX64": (64, "", "float_data"),
    "COMPLEX128": (128, "", "double_data"),
    "FLOAT8E4M3FN": (8, "", "int32_data"),
    "FLOAT8E4M3FNUZ": (8, "", "int32_data"),
    "FLOAT8E5M2": (8, "", "int32_data"),
    "FLOAT8E5M2FNUZ": (8, "", "int32_data"),
    "FLOAT8E8M0": (8, "", "int32_data"),
    "UINT4": (4, "", "int32_data"),
    "INT4": (4, "", "int32_data"),
    "FLOAT4E2M1": (4, "", "int32_data"),
    "UINT2": (2, "", "int32_data"),
    "INT2": (2, "", "int32_data"),
}

DATATYPES = {
    TensorProto.DataType.Value(name): Datatype(*kind)
    for name, kind in _KINDS.items()
    if name in TensorProto.DataType.keys()  # noqa: SIM118 - an enum of protobuf is no mapping
}
