"""gRPC server reflection, v1 and v1alpha (grpc/grpc doc/server-reflection.md): two packages, one set of messages.

Answers come from the private pool, so a reflecting client (grpcurl, Postman) sees every method, the compiled ones
included. Files are sent with all their dependencies, the asked-for file first: no client then needs a second question.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import cache
from typing import Any

from modelward.rpc.call import Call
from modelward.rpc.protocol import SERVICES, Code, Message, clip, message_class, pool


class Reflection:
    """One version of the service; `package` is "grpc.reflection.v1" or "grpc.reflection.v1alpha"."""

    def __init__(self, package: str) -> None:
        self._name = f"{package}.ServerReflectionResponse"
        self._answers: dict[str, Callable[[Any, Any], None]] = {
            "list_services": _list_services,
            "file_by_filename": _file_by_filename,
            "file_containing_symbol": _file_containing_symbol,
            "file_containing_extension": _file_containing_extension,
            "all_extension_numbers_of_type": _extension_numbers,
        }

    async def info(self, requests: AsyncIterator[Message], call: Call) -> AsyncGenerator[Message, None]:
        """One response per request, in order; a question without an answer gets an error_response, not a status."""
        async for request in requests:
            response: Any = message_class(self._name)(valid_host=request.host, original_request=request)
            kind = request.WhichOneof("message_request")
            if kind is None:
                _refuse(response, Code.INVALID_ARGUMENT, "the request asks for nothing that this server knows")
            else:
                self._answers[kind](getattr(request, kind), response)
            yield response


def _refuse(response: Any, code: Code, message: str) -> None:
    response.error_response.error_code = code
    response.error_response.error_message = message


def _list_services(_: str, response: Any) -> None:
    for name in sorted(SERVICES):
        response.list_services_response.service.add(name=name)


def _file_by_filename(name: str, response: Any) -> None:
    try:
        file = pool().FindFileByName(name)
    except KeyError:
        _refuse(response, Code.NOT_FOUND, f"no file {clip(name)!r}")
    else:
        response.file_descriptor_response.file_descriptor_proto.extend(_with_dependencies(file.name))


def _file_containing_symbol(symbol: str, response: Any) -> None:
    file = _find_symbol(symbol)
    if file is None:
        _refuse(response, Code.NOT_FOUND, f"no symbol {clip(symbol)!r}")
    else:
        response.file_descriptor_response.file_descriptor_proto.extend(_with_dependencies(file.name))


def _file_containing_extension(extension: Any, response: Any) -> None:
    _refuse(response, Code.NOT_FOUND, f"{clip(extension.containing_type)!r} has no extensions: the protocol is proto3")


def _extension_numbers(type_name: str, response: Any) -> None:
    _refuse(response, Code.NOT_FOUND, f"{clip(type_name)!r} has no extensions: the protocol is proto3")


def _find_symbol(symbol: str) -> Any:
    """The file that declares a message, field, enum, service or method, by its full name; None if none does."""
    try:
        return pool().FindFileContainingSymbol(symbol)
    except KeyError:
        pass
    # The pool does not look inside services.
    service_name, _, method = symbol.rpartition(".")
    try:
        service = pool().FindServiceByName(service_name)
    except KeyError:
        return None
    return service.file if method in service.methods_by_name else None


@cache
def _with_dependencies(file_name: str) -> tuple[bytes, ...]:
    """Bounded by the number of files in the pool: names come from descriptors, not from clients."""
    encoded: dict[str, bytes] = {}
    waiting = [pool().FindFileByName(file_name)]
    while waiting:
        file = waiting.pop()
        if file.name not in encoded:
            encoded[file.name] = file.serialized_pb
            waiting.extend(file.dependencies)
    return tuple(encoded.values())
