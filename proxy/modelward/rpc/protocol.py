"""The protocol's message classes, from a descriptor pool of our own.

The pool is private because tritonclient's and kserve's generated stubs register files of the same names in protobuf's
default pool: the second import would fail, and an application that embeds Modelward may import both.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from modelward.status import Code, RpcError, clip

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
    "DecodeError",
    "DescriptorsMissing",
    "Message",
    "RpcError",
    "clip",
    "file_set",
    "message_class",
    "pool",
]


class DescriptorsMissing(RuntimeError):
    """The descriptor set was not built: an incomplete installation."""


@cache
def file_set() -> Any:
    """Every protocol file as a FileDescriptorSet, dependencies before dependents.

    Raises DescriptorsMissing if protos/descriptors.pb is not there.
    """
    path = resources.files("modelward") / "descriptors.pb"
    try:
        encoded = path.read_bytes()
    except FileNotFoundError:
        raise DescriptorsMissing(
            f"{path} is missing: it is built from protos/*.proto by `pip install .` (or `make build`); in a source "
            "tree run `python -m grpc_tools.protoc -Iprotos --include_imports "
            "--descriptor_set_out=protos/descriptors.pb protos/*.proto`"
        ) from None
    return descriptor_pb2.FileDescriptorSet.FromString(encoded)


@cache
def pool() -> Any:
    """The private DescriptorPool, holding exactly the files of `file_set`."""
    private = descriptor_pool.DescriptorPool()
    for file in file_set().file:
        private.Add(file)
    return private


@cache
def message_class(full_name: str) -> type[Message]:
    """The class of a message such as "inference.ModelMetadataRequest". Raises KeyError if there is none."""
    cls: type[Message] = message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))
    return cls
