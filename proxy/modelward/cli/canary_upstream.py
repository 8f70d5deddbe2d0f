"""What a model of a running server answers, recorded as its canary."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import grpc

from modelward.cli import connect
from modelward.models.canary import Arrays, Canary, Specs, record, request_of
from modelward.problem import Problem, ProblemsFound, WrongUsage
from modelward.rpc.contents import AnswerProblem
from modelward.rpc.protocol import INFERENCE_SERVICE, message_class
from modelward.score import ProfileError, load_table
from modelward.tensors import DATATYPES, TensorSpec, row_signature
from modelward.upstream.canary import answer, as_engine, request

CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
HOW = "Check the address and the model's name; `modelward infer` asks the same server"


def record_upstream(arguments: argparse.Namespace) -> Canary:
    """Raises ProblemsFound, WrongUsage."""
    name = str(arguments.model)
    if arguments.out is None:
        raise WrongUsage("--url needs --out FILE, which models.M.canary.file names")
    try:
        metadata = connect.metadata(arguments)
        with connect.channel(arguments, arguments.url, CHANNEL_OPTIONS) as channel:

            def ask(method: str, **fields: Any) -> Any:
                kinds = (message_class(f"inference.{method}{kind}") for kind in ("Request", "Response"))
                sent, received = kinds
                call = channel.unary_unary(
                    f"/{INFERENCE_SERVICE}/{method}",
                    request_serializer=sent.SerializeToString,
                    response_deserializer=received.FromString,
                )
                return call(sent(**fields), timeout=arguments.timeout, metadata=metadata or None)

            told = ask("ModelMetadata", name=name)
            inputs, outputs = _specs(told.inputs), _specs(told.outputs)
            given = _inputs(arguments.data, inputs, arguments.rows)
            found = answer(ask("ModelInfer", **request(name, given, inputs)))
    except connect.ConnectProblem as problem:
        raise WrongUsage(str(problem)) from None
    except grpc.RpcError as error:
        raise _refused(arguments.url, f"{error.code().name}: {error.details()}") from None
    except AnswerProblem as problem:
        raise _refused(arguments.url, str(problem)) from None
    kept = {spec.name: as_engine(found[spec.name], spec.datatype) for spec in outputs if spec.name in found}
    if not kept:
        raise _refused(arguments.url, "it answers with none of the outputs that it declares")
    try:
        return record(kept, outputs, given, arguments.out, arguments.tolerance)
    except OSError as error:
        raise _refused(arguments.out, error.strerror or str(error)) from error


def _inputs(data: Path, specs: Specs, rows: int) -> Arrays:
    try:
        return request_of(load_table(data, row_signature(specs)), specs, rows)
    except (ProfileError, ValueError) as error:
        raise ProblemsFound(
            [Problem("no canary can be recorded", str(data), str(error), "Check that the data fit the model")]
        ) from error


def _specs(tensors: Any) -> Specs:
    found = []
    for tensor in tensors:
        if tensor.datatype not in DATATYPES:
            raise _refused(tensor.name, f"its datatype is {tensor.datatype[:40]!r}")
        shape = tuple(tensor.shape)
        found.append(TensorSpec(tensor.name, tensor.datatype, shape, (None,) * len(shape)))
    return tuple(found)


def _refused(where: object, why: str) -> ProblemsFound:
    return ProblemsFound([Problem("no canary can be recorded", str(where), why, HOW)])
