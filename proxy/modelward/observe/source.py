"""What observations are of: one version of a model, as a worker describes it in front of the first of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from modelward.score.layout import Layout

VERSION = 1


class Tensor(NamedTuple):
    """shape: -1 for a dynamic dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @classmethod
    def decode(cls, told: Sequence[Any]) -> Tensor:
        name, datatype, shape = told
        return cls(str(name), str(datatype), tuple(map(int, shape)))


class Trained(NamedTuple):
    """A feature of the training rows, by its index. edges: between bars, rising; shares: of the rows in each of the
    bars, one more (`modelward.score.marginals`)."""

    feature: int
    edges: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def decode(cls, told: Sequence[Any]) -> Trained:
        feature, edges, shares = told
        if len(shares) != len(edges) + 1:
            raise ValueError("bars without as many shares")
        return cls(int(feature), tuple(map(float, edges)), tuple(map(float, shares)))


class SourceError(ValueError):
    """A description that cannot be read."""


@dataclass(frozen=True)
class Source:
    """digest: of the version's files, empty where an upstream runs it. share: of its requests that are observed.
    layout: (name, kind, elements per row) of each input of its profile, as `modelward.score.layout.plan` takes them;
    None without one. batched: the first dimension of all tensors is the row. classes: outputs that hold class scores.
    trained: how features whose drift is watched are distributed in the training rows.
    """

    model: str
    version: str
    digest: str
    share: float
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batched: bool
    layout: tuple[tuple[str, int, int], ...] | None = None
    classes: tuple[str, ...] = field(default=())
    trained: tuple[Trained, ...] = field(default=())

    @property
    def key(self) -> tuple[str, str]:
        return self.model, self.version

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the features and, behind them, of the category columns."""
        layout = self.plan
        return () if layout is None else tuple(map(layout.column_name, range(layout.features + layout.columns)))

    @cached_property
    def plan(self) -> Layout | None:
        from modelward.score.layout import plan  # noqa: PLC0415 - brings numpy: only where something is observed

        return None if self.layout is None else plan(self.layout)

    def encode(self) -> bytes:
        """JSON. The same source is the same bytes in every worker."""
        told: dict[str, Any] = {
            "description": VERSION,
            "model": self.model,
            "version": self.version,
            "digest": self.digest,
            "share": self.share,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "batched": self.batched,
            "layout": self.layout,
            "classes": self.classes,
            "trained": self.trained,
        }
        return json.dumps(told).encode()

    @classmethod
    def decode(cls, description: bytes) -> Source:
        """Raises SourceError."""
        try:
            told = json.loads(description)
            if told["description"] != VERSION:
                raise SourceError("it is of another version of this program")
            layout = told["layout"]
            return cls(
                str(told["model"]),
                str(told["version"]),
                str(told["digest"]),
                float(told["share"]),
                tuple(map(Tensor.decode, told["inputs"])),
                tuple(map(Tensor.decode, told["outputs"])),
                bool(told["batched"]),
                None if layout is None else tuple((str(name), int(kind), int(count)) for name, kind, count in layout),
                tuple(map(str, told["classes"])),
                tuple(map(Trained.decode, told["trained"])),
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise SourceError(f"a description of a source cannot be read: {error}") from None
