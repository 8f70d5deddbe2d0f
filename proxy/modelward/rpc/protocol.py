"""The protocol's message classes, from a descriptor pool of our own.

The pool is private because tritonclient's and kserve's generated stubs register files of the same names in protobuf's
default pool: the second import would fail, and an application that embeds Modelward may import both.

protobuf is imported when the first message is made or read: 3 MiB that a worker whose clients only infer does without.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelward.status import Code, RpcError, clip

if TYPE_CHECKING:
    from google.protobuf.message import Message
else:
    Message = Any

DESCRIPTORS = Path(__file__).parent.parent / "descriptors.pb"
INFERENCE_SERVICE = "inference.GRPCInferenceService"
HEALTH_SERVICE = "grpc.health.v1.Health"
REFLECTION_SERVICES = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
SERVICES = (INFERENCE_SERVICE, HEALTH_SERVICE, *REFLECTION_SERVICES)

__all__ = [
    "HEALTH_SERVICE",
    "INFERENCE_SERVICE",
    "REFLECTION_SERVICES",
    "SERVICES",
    "Code",
    "DescriptorsMissing",
    "Malformed",
    "Message",
    "RpcError",
    "clip",
    "file_set",
    "find_descriptors",
    "message_class",
    "parse",
    "pool",
    "request_class",
]


class DescriptorsMissing(RuntimeError):
    """The descriptor set was not built: an incomplete installation."""


class Malformed(ValueError):
    """These bytes are no such message."""


def find_descriptors() -> Path:
    """Raises DescriptorsMissing if protos/descriptors.pb is not there."""
    if not DESCRIPTORS.is_file():
        raise DescriptorsMissing(
            f"{DESCRIPTORS} is missing: it is built from protos/*.proto by `pip install .` (or `make build`); in a "
            "source tree run `python -m grpc_tools.protoc -Iprotos --include_imports "
            "--descriptor_set_out=protos/descriptors.pb protos/*.proto`"
        )
    return DESCRIPTORS


@cache
def file_set() -> Any:
    """Every protocol file as a FileDescriptorSet, dependencies before dependents. Raises DescriptorsMissing."""
    from google.protobuf import descriptor_pb2  # noqa: PLC0415

    return descriptor_pb2.FileDescriptorSet.FromString(find_descriptors().read_bytes())


@cache
def pool() -> Any:
    """The private DescriptorPool, holding exactly the files of `file_set`."""
    from google.protobuf import descriptor_pool  # noqa: PLC0415

    private = descriptor_pool.DescriptorPool()
    for file in file_set().file:
        private.Add(file)
    return private


@cache
def message_class(full_name: str) -> type[Message]:
    """The class of a message such as "inference.ModelMetadataRequest". Raises KeyError if there is none."""
    from google.protobuf import message_factory  # noqa: PLC0415

    cls: type[Message] = message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))
    return cls


@cache
def request_class(service: str, method: str) -> type[Message]:
    """Of what a method is asked. Raises KeyError if there is none."""
    return message_class(pool().FindServiceByName(service).methods_by_name[method].input_type.full_name)


def parse(cls: type[Message], data: bytes) -> Message:
    """Raises Malformed."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    try:
        return cls.FromString(data)
    except DecodeError as error:
        raise Malformed(str(error)) from None
