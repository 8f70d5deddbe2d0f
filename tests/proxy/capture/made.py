"""Batches of observations as a worker would have made them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelward.observe.batch import REQUEST_DTYPE, ROW_DTYPE, Batch
from modelward.observe.source import Source, Tensor
from modelward.rpc.contents import Array, encode
from modelward.tensors import DATATYPES
from tests.e2e.messages import RESPONSE

SOURCE = Source(
    "m", "1", "abcd", 1.0,
    (Tensor("x", "FP32", (-1, 3)), Tensor("age", "INT64", (-1, 1)), Tensor("who", "BYTES", (-1, 1))),
    (Tensor("y", "FP32", (-1, 2)),), True,
)  # fmt: skip
CLOCK = 1_700_000_000 * 10**9


def tensors(count: int, seed: int = 0) -> dict[str, Array]:
    """Of one request."""
    random = np.random.default_rng(seed)
    return {
        "x": random.normal(size=(count, 3)).astype(np.float32),
        "age": random.integers(18, 90, size=(count, 1)),
        "who": np.array([[f"person {i % 7}".encode()] for i in range(count)], object),
    }


def batch_of(requests: Sequence[Mapping[str, Array]], source: Source = SOURCE, **fields: Any) -> Batch:
    """requests: the inputs of each, one row or more. fields: columns of the requests and of the rows; the answer is the
    first two columns of the first input."""
    counts = [len(next(iter(each.values()))) for each in requests]
    heads = np.zeros(len(requests), REQUEST_DTYPE)
    rows = np.zeros(sum(counts), ROW_DTYPE)
    heads["rows"] = heads["total_rows"] = counts
    heads["chance"] = np.arange(len(requests))
    heads["at"] = np.arange(len(requests)) * 10**9
    rows["row"] = np.concatenate([np.arange(count) for count in counts])
    rows["p_value"], rows["cell"] = 0.5, 3
    for name, values in fields.items():
        (heads if name in REQUEST_DTYPE.names and name != "p_value" else rows)[name] = values
    inputs = [_raw(source, each) for each in requests]
    heads["inputs_size"] = [len(each) for each in inputs]
    answers = [_answer(source, next(iter(each.values()))) for each in requests]
    firsts = [next(iter(each.values())) for each in requests]
    width = min(each.shape[1] for each in firsts)
    features = np.concatenate([each[:, :width] for each in firsts]).astype(np.float32)
    return Batch(
        source, heads, rows, features, np.zeros((len(rows), 0), np.uint64),
        tuple(f"r{i}".encode() for i in range(len(requests))), tuple(inputs), tuple(answers), CLOCK,
    )  # fmt: skip


def _raw(source: Source, given: Mapping[str, Array]) -> bytes:
    parts = []
    for spec in source.inputs:
        array = given[spec.name]
        data = encode(array, spec.datatype)
        head = struct.pack("<IIQ", DATATYPES.index(spec.datatype) + 1, array.ndim, len(data))
        parts.append(head + struct.pack(f"<{array.ndim}q", *array.shape) + data + bytes(-len(data) % 8))
    return b"".join(parts)


def _answer(source: Source, x: Array) -> bytes:
    answer = RESPONSE()
    spec = source.outputs[0]
    made = x[:, : spec.shape[-1]]
    answer.outputs.add(name=spec.name, datatype=spec.datatype, shape=made.shape)
    answer.raw_output_contents.append(encode(made, spec.datatype))
    return bytes(answer.SerializeToString())
