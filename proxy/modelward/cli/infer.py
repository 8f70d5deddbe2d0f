"""`modelward infer`: one request from the shell, to any server of the protocol or to an .onnx file."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelward.child import Bounds, ChildEnded, in_child
from modelward.cli import connect
from modelward.cli.values import ValueProblem, as_text, fit_rank, read_value, to_json
from modelward.config.units import UnitError, parse_duration
from modelward.rpc.contents import AnswerProblem, Array, decode_all, encode
from modelward.rpc.protocol import INFERENCE_SERVICE, message_class

DEFAULT_URL = "127.0.0.1:8001"
OK, SERVER_ERROR, USAGE = 0, 1, 2
# of a file's model: what serve allows, and the start of a server
LOAD_SECONDS = 70.0
# grpcio's own bound of 4 MiB would refuse answers that the server is configured to give.
CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class UsageProblem(Exception):
    """The command cannot mean anything with this model; nothing was inferred."""


class FileRefused(Exception):
    """The model of a file, or the server of it, did not answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="name of a served model, or path of an .onnx file")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one input: a number, a JSON list, @file.npy or @file.json; a missing batch dimension is added",
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="host:port or unix:/path (default: %(default)s)")
    parser.add_argument("--version", default="", metavar="V", help="model version (default: the server's choice)")
    parser.add_argument("--timeout", default="10s", help="deadline of the whole request (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    connect.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 for an answer, 1 for an error or no answer, 2 where the arguments make no sense."""
    try:
        timeout = parse_duration(args.timeout) / 1e9
        inputs = dict(_split_input(text) for text in args.input)
        if len(inputs) != len(args.input):
            raise UsageProblem("an input is given twice")
        metadata = connect.metadata(args)
        response = (_ask_file if _is_file(args.model) else _ask)(args, inputs, timeout, metadata)
        outputs = _outputs(response)
    except (UsageProblem, ValueProblem, UnitError, connect.ConnectProblem) as problem:
        print(f"modelward infer: {problem}", file=sys.stderr)
        return USAGE
    except (AnswerProblem, FileRefused) as problem:
        print(f"modelward infer: {problem}", file=sys.stderr)
        return SERVER_ERROR
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)
        if _may_want_tls(args, error):
            print("modelward infer: perhaps the server wants TLS: add --tls or --ca FILE", file=sys.stderr)
        elif _may_want_certificate(args, error):
            words = "perhaps the server wants a client certificate: add --certificate and --key"
            print(f"modelward infer: {words}", file=sys.stderr)
        return SERVER_ERROR
    if args.json:
        _print_json(response, outputs)
    else:
        _print_tables(response, outputs)
    return OK


def _ask(args: argparse.Namespace, inputs: dict[str, str], timeout: float, metadata: connect.Metadata) -> Any:
    with _server(args) as address, connect.channel(args, address, CHANNEL_OPTIONS) as channel:
        model = Path(args.model).stem if _is_file(args.model) else args.model
        return _infer(_Stub(channel, timeout, metadata), model, args.version, inputs)


def _ask_file(args: argparse.Namespace, inputs: dict[str, str], timeout: float, metadata: connect.Metadata) -> Any:
    """In a child process, which a model may end."""
    bounds = Bounds(LOAD_SECONDS + timeout, sys.maxsize)
    try:
        answer = in_child(bounds, ask_file, args, inputs, timeout, metadata)
    except ChildEnded as ended:
        raise FileRefused(f"{args.model}: ONNX Runtime does not survive the model or the request: {ended}") from None
    return message_class("inference.ModelInferResponse").FromString(answer)


def ask_file(args: argparse.Namespace, inputs: dict[str, str], timeout: float, metadata: connect.Metadata) -> bytes:
    """In the child."""
    try:
        answer: bytes = _ask(args, inputs, timeout, metadata).SerializeToString()
    except grpc.RpcError as error:  # which cannot be sent to another process
        raise FileRefused(f"{error.code().name}: {error.details()}") from None
    return answer


def _may_want_tls(args: argparse.Namespace, error: grpc.RpcError) -> bool:
    """Whether the other side has taken a connection without TLS and closed it."""
    details = (error.details() or "").lower()
    return connect.is_plain(args) and "failed to connect" in details and "refused" not in details


def _may_want_certificate(args: argparse.Namespace, error: grpc.RpcError) -> bool:
    """Whether the other side has closed a connection with TLS: with TLS 1.3 it says no more."""
    details = (error.details() or "").lower()
    closed = "socket closed" in details or "connection reset" in details or "certificate required" in details
    return not connect.is_plain(args) and args.certificate is None and closed


class _Stub:
    """The two methods that are needed. Both share one deadline: the timeout is a promise about the command."""

    def __init__(self, channel: grpc.Channel, timeout: float, metadata: connect.Metadata) -> None:
        self._channel = channel
        self._metadata = metadata
        self._deadline = time.monotonic() + timeout

    def __call__(self, method: str, **fields: Any) -> Any:
        request, response = (message_class(f"inference.{method}{kind}") for kind in ("Request", "Response"))
        call = self._channel.unary_unary(
            f"/{INFERENCE_SERVICE}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return call(
            request(**fields), timeout=max(self._deadline - time.monotonic(), 0), metadata=self._metadata or None
        )


def _is_file(model: str) -> bool:
    return model.endswith(".onnx")


def _server(args: argparse.Namespace) -> AbstractContextManager[str]:
    """The address to ask; a model's file is served by this process for as long as the block runs."""
    if not _is_file(args.model):
        return nullcontext(args.url)
    # Only now, because it brings ONNX Runtime: a request to a running server should not wait for that.
    local: AbstractContextManager[str] = import_module("modelward.server.embedded").local_server(Path(args.model))
    return local


def _split_input(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageProblem(f"--input {text!r} is not NAME=VALUE")
    return name, value


def _infer(stub: _Stub, model: str, version: str, inputs: dict[str, str]) -> Any:
    """Asks what the inputs are, then infers. Raises UsageProblem, ValueProblem, grpc.RpcError."""
    metadata = stub("ModelMetadata", name=model, version=version)
    declared = {tensor.name: tensor for tensor in metadata.inputs}
    unknown = sorted(inputs.keys() - declared.keys())
    missing = [name for name in declared if name not in inputs]
    if unknown or missing:
        wanted = ", ".join(f"{t.name} {t.datatype} {list(t.shape)}" for t in metadata.inputs)
        what = f"no input is named {', '.join(unknown)}" if unknown else f"--input is missing for {', '.join(missing)}"
        raise UsageProblem(f"{what}; {model} takes {wanted}")
    tensors, raw = [], []
    for name, text in inputs.items():
        tensor = declared[name]
        try:
            array = fit_rank(read_value(text, tensor.datatype), list(tensor.shape))
        except ValueProblem as problem:
            raise ValueProblem(f"--input {name}: {problem}") from None
        tensors.append({"name": name, "datatype": tensor.datatype, "shape": array.shape})
        raw.append(encode(array, tensor.datatype))
    return stub("ModelInfer", model_name=model, model_version=version, inputs=tensors, raw_input_contents=raw)


def _outputs(response: Any) -> list[tuple[Any, Array]]:
    """Each output with its array."""
    return [*zip(response.outputs, decode_all(response.outputs, response.raw_output_contents), strict=True)]


def _parameters(response: Any) -> dict[str, Any]:
    return {
        name: getattr(parameter, parameter.WhichOneof("parameter_choice") or "string_param")
        for name, parameter in sorted(response.parameters.items())
    }


def _print_json(response: Any, outputs: list[tuple[Any, Array]]) -> None:
    answer = {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "parameters": _parameters(response),
        "outputs": [
            {"name": o.name, "datatype": o.datatype, "shape": list(o.shape), "data": to_json(array)}
            for o, array in outputs
        ],
    }
    print(json.dumps(answer))


def _print_tables(response: Any, outputs: list[tuple[Any, Array]]) -> None:
    # Text of the server's is escaped: a model must not be able to draw with rich's markup.
    console = Console()
    version = f" version {response.model_version}" if response.model_version else ""
    table = Table("output", "datatype", "shape", "value", title=escape(f"{response.model_name}{version}"))
    for output, array in outputs:
        cells = (output.name, output.datatype, str(list(output.shape)), as_text(array))
        table.add_row(*map(escape, cells))
    console.print(table)
    parameters = _parameters(response)
    if parameters:
        told = Table("parameter", "value")
        for name, value in parameters.items():
            told.add_row(escape(name), escape(str(value)))
        console.print(told)
