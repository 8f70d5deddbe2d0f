"""The columns of captured rows: where they came from, what was asked, what was answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from modelward.capture import texts
from modelward.capture.features import ELEMENT, elements, unknown
from modelward.capture.hashing import hashed
from modelward.capture.suspicion import suspicious
from modelward.config.capture import Capture, FeatureUse
from modelward.observe.batch import Batch
from modelward.observe.source import Source, Tensor
from modelward.rpc.contents import Array
from modelward_native.detect.suspicion import SIGNALS, STEPS
from modelward_native.observe.reader import BY_FALLBACK, BY_MODEL, REFUSED
from modelward_native.request.verdict import table

SCHEMA_VERSION = 1
METADATA = b"modelward"  # key of the JSON in each file's schema
INPUT, OUTPUT, HASH = "input.", "output.", "hash."
ANSWERED_BY = {BY_MODEL: "model", BY_FALLBACK: "fallback", REFUSED: "refused"}
CALLERS = {0: "peer", ord("c"): "certificate", ord("t"): "token", ord("k"): "key"}
EVIDENCE = [f"{strength} {signal}" for signal in SIGNALS for strength in ("strong", "mild")]  # observe/writer.pyx
FLAGS = {"not a number": 1, "out of range": 2, "unknown category": 4}  # modelward_native/score/score.h
CLEAN, QUARANTINE = "clean", "quarantine"
# In the order of what a byte may be.
CALLER_NAMES = pa.array([CALLERS.get(each, "token") for each in range(256)])
ANSWERED_BY_NAMES = pa.array([ANSWERED_BY.get(each) for each in range(256)], pa.string())
REASONS = [name for name, *_ in table()]
REASON_NAMES = pa.array([REASONS[each] if 0 < each < len(REASONS) else None for each in range(256)], pa.string())
ARROW = {
    "BOOL": pa.bool_(), "UINT8": pa.uint8(), "UINT16": pa.uint16(), "UINT32": pa.uint32(), "UINT64": pa.uint64(),
    "INT8": pa.int8(), "INT16": pa.int16(), "INT32": pa.int32(), "INT64": pa.int64(), "FP16": pa.float32(),
    "BF16": pa.float32(), "FP32": pa.float32(), "FP64": pa.float64(), "BYTES": pa.binary(),
}  # fmt: skip
PROVENANCE = (
    ("time", pa.timestamp("us", "UTC")),
    ("model_digest", pa.string()),
    ("identity", pa.string()),
    ("caller", pa.string()),
    ("request_id", pa.string()),
    ("trace_id", pa.string()),
    ("row", pa.uint32()),
    ("rows", pa.int64()),
    ("score", pa.float64()),
    ("p_value", pa.float64()),
    ("flags", pa.uint32()),
    ("cell", pa.int32()),
    ("fingerprint", pa.uint64()),
    ("evidence", pa.list_(pa.float32())),
    ("step", pa.uint8()),
    ("answered_by", pa.string()),
    ("reason", pa.string()),
    ("flagged", pa.bool_()),
    ("quarantine", pa.string()),
)


Part = tuple[npt.NDArray[np.intp], Array]  # rows, and what they have


class UnknownFeature(ValueError):
    """A name in `features` that is none of the model's: what it was to keep out of the files is not known."""


def is_scalar(source: Source, tensor: Tensor) -> bool:
    """Whether a row of it is one value, and not a list."""
    return elements(tensor.shape, source.batched) == 1


@dataclass(frozen=True)
class Columns:
    """How the rows of one source are written. key: of the hashes."""

    source: Source
    settings: Capture
    key: bytes

    def __post_init__(self) -> None:
        sizes = {spec.name: elements(spec.shape, self.source.batched) for spec in self.source.inputs}
        if names := unknown(self.settings.features, sizes):
            of = f"version {self.source.version}"
            raise UnknownFeature(f"capture.features names {names[0]!r}, which is no input of {of}")

    @cached_property
    def schema(self) -> pa.Schema:
        told = {
            "schema": SCHEMA_VERSION,
            "model": self.source.model,
            "version": self.source.version,
            "digest": self.source.digest,
            "inputs": self.source.inputs,
            "outputs": self.source.outputs,
            "classes": self.source.classes,
            "features": dict(self.settings.features),
            "evidence": EVIDENCE,
            "steps": STEPS,
            "flags": FLAGS,
        }
        fields = [*PROVENANCE, *((name, kind) for name, kind, _ in self._tensors())]
        return pa.schema(fields, {METADATA: json.dumps(told).encode()})

    def table(self, batch: Batch) -> pa.Table:
        """All rows of the batch. Those in whose column `quarantine` a reason stands are suspicious."""
        made = self._provenance(batch) | {name: make(batch) for name, _, make in self._tensors()}
        return pa.Table.from_pydict(made, self.schema)

    # ---- where it came from

    def _provenance(self, batch: Batch) -> dict[str, Any]:
        requests: Any = batch.requests
        n = len(batch)
        by_request: dict[str, pa.Array] = {
            "identity": texts.hexadecimal(requests["identity"].astype(">u8")),
            "caller": texts.chosen(CALLER_NAMES, requests["caller"]),
            "request_id": texts.decoded(batch.ids),
            "trace_id": texts.hexadecimal(requests["trace"], requests["traced"] != 0),
            "answered_by": texts.chosen(ANSWERED_BY_NAMES, requests["answered_by"]),
            "reason": texts.chosen(REASON_NAMES, _reasons(requests)),
        }
        if n != len(requests) or (requests["rows"] != 1).any():
            rows = pa.array(batch.request)
            by_request = {name: values.take(rows) for name, values in by_request.items()}
        of = batch.request
        evidence = requests["evidence"][of]
        ends = np.arange(n + 1) * evidence.shape[1]
        return by_request | {
            "time": pa.array(((requests["at"] + batch.clock) // 1000)[of], pa.timestamp("us", "UTC")),
            "model_digest": pa.repeat(pa.scalar(self.source.digest or None, pa.string()), n),
            "row": batch.rows["row"],
            "rows": requests["total_rows"][of],
            "score": _nullable(batch.score),
            "p_value": _nullable(batch.p_value),
            "flags": batch.flags,
            "cell": pa.array(batch.cell, mask=batch.cell < 0),
            "fingerprint": self._fingerprints(batch),
            "evidence": pa.ListArray.from_arrays(ends.astype(np.int32), evidence.ravel()),
            "step": requests["step"][of],
            "flagged": (requests["flagged"] != 0)[of],
            "quarantine": texts.joined(suspicious(batch, self.settings.quarantine), n),
        }

    def _fingerprints(self, batch: Batch) -> Any:
        """One for equal rows, of all inputs, also of those that are left out."""
        total, known = np.zeros(len(batch), np.uint64), np.zeros(len(batch), bool)
        for i, spec in enumerate(self.source.inputs):
            key = self.key + i.to_bytes(2, "little")
            for at, part in batch.asked.parts(spec):
                total[at] += hashed(part, key)
                known[at] = True
        return pa.array(total, mask=~known)

    # ---- tensors

    def _tensors(self) -> list[tuple[str, pa.DataType, Any]]:
        """(column, type, what makes it of a batch)."""
        made: list[tuple[str, pa.DataType, Any]] = []
        for spec in self.source.inputs:
            whole = self.settings.features.get(spec.name, "keep")
            elements = self._elements(spec.name)
            if whole == "keep":
                made.append(self._kept(INPUT, spec, elements))
            if whole == "hash":
                made.append(self._hashed(spec, None))
            made += [self._hashed(spec, i) for i, use in elements.items() if use == "hash" and whole != "hash"]
        made += [self._kept(OUTPUT, spec, {}) for spec in self.source.outputs]
        return made

    def _elements(self, name: str) -> dict[int, FeatureUse]:
        """Those of one input that have settings of their own."""
        found = [(ELEMENT.fullmatch(each), use) for each, use in self.settings.features.items()]
        return {int(match[2]): use for match, use in found if match is not None and match[1] == name}

    def _kept(self, prefix: str, spec: Tensor, elements: Mapping[int, FeatureUse]) -> tuple[str, pa.DataType, Any]:
        kind, scalar = ARROW[spec.datatype], is_scalar(self.source, spec)
        out = [i for i, use in elements.items() if use != "keep"]

        def make(batch: Batch) -> pa.Array:
            parts = (batch.asked if prefix == INPUT else batch.answers).parts(spec)
            return _scalars(parts, len(batch), kind) if scalar else _lists(parts, len(batch), kind, out)

        return prefix + spec.name, kind if scalar else pa.list_(kind), make

    def _hashed(self, spec: Tensor, element: int | None) -> tuple[str, pa.DataType, Any]:
        def make(batch: Batch) -> pa.Array:
            values, known = np.zeros(len(batch), np.uint64), np.zeros(len(batch), bool)
            for at, part in batch.asked.parts(spec):
                if element is None or element < part.shape[1]:
                    values[at] = hashed(part if element is None else part[:, element], self.key)
                    known[at] = True
            return pa.array(values, mask=~known)

        return f"{HASH}{spec.name}" + ("" if element is None else f"[{element}]"), pa.uint64(), make


def _nullable(values: Array) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _reasons(requests: Any) -> npt.NDArray[np.uint8]:
    """Why each was refused, or why a fallback answered it."""
    own: npt.NDArray[np.uint8] = requests["reason"]
    return np.where(own != 0, own, requests["fallback_reason"])


def _flat(parts: Sequence[Part], kind: pa.DataType, mask: Array | None = None) -> pa.Array:
    if not parts:
        return pa.array([], kind)
    values = parts[0][1].ravel() if len(parts) == 1 else np.concatenate([part.ravel() for _, part in parts])
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    return pa.array(values.tolist() if values.dtype.kind == "O" else values, kind, mask=mask)


def _scalars(parts: Sequence[Part], n: int, kind: pa.DataType) -> pa.Array:
    """Null where a row has none."""
    return _in_order(_flat(parts, kind), parts, n)


def _lists(parts: Sequence[Part], n: int, kind: pa.DataType, out: Sequence[int]) -> pa.Array:
    """out: elements that are null in every row."""
    masks = []
    for _, part in parts if out else ():
        mask = np.zeros(part.shape, bool)
        mask[:, [i for i in out if i < part.shape[1]]] = True
        masks.append(mask.ravel())
    flat = _flat(parts, kind, np.concatenate(masks) if masks else None)
    lengths = [np.full(len(part), part.shape[1]) for _, part in parts]
    offsets = np.concatenate([[0], *lengths]).cumsum().astype(np.int32)
    return _in_order(pa.ListArray.from_arrays(pa.array(offsets), flat), parts, n)


def _in_order(values: pa.Array, parts: Sequence[Part], n: int) -> pa.Array:
    """values: of the rows of all parts. Of all n rows in their order, null where a row is in no part."""
    if len(parts) == 1 and len(values) == n:
        return values
    index = np.full(n, -1)
    count = 0
    for rows, part in parts:
        index[rows] = np.arange(count, count + len(part))
        count += len(part)
    return values.take(pa.array(index, mask=index < 0))
