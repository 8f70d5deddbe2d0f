"""What is served: models in order, their versions, and how a client's name finds one.

The catalog itself is immutable: a reload builds the next one. What changes while it lives is each version's readiness
and its statistics, and both are read, never kept, by the methods that tell of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, field

from modelward.model_names import fault_of_name
from modelward.models.weights import fractions, primary
from modelward.problem import Problem, ProblemsFound
from modelward.status import Code, RpcError, clip
from modelward.suggest import did_you_mean
from modelward.telemetry.statistics import Statistics

if TYPE_CHECKING:
    from modelward.rpc.call import Call
    from modelward.rpc.protocol import Message
    from modelward.tensors import TensorSpec

# Names and versions that an error message lists, so that it stays readable and far below a trailer's bound.
LISTED_NAMES = 3
LISTED_VERSIONS = 8
NO_VERSION = "no version of this model may answer now: RepositoryIndex says why"


Told = Callable[[str, str, "Call"], Awaitable[Mapping[str, Sequence[Any]] | None]]


class Servers(Protocol):
    """Upstream servers all of whose models are served."""

    async def unready(self, call: Call) -> Sequence[tuple[str, str, str, str]]:
        """Name, version, state and reason of what is not ready there."""

    async def extensions(self, call: Call, *, methods: bool) -> Sequence[str]:
        """Names of ServerMetadata. methods: whether the caller may call methods that are not known here."""


class CatalogEntry(Struct):
    """One version of one model. Shapes are the whole tensors'; -1 is a dimension that the request decides.

    A batchable model's first dimension is the batch of at most `max_batch` rows. `ready` turns true once the model is
    warm; until then `reason` says what is the matter, or is empty while it merely loads. One that is `failing` its
    canary, or `missing` on all of its upstreams and without a fallback that answers, is not ready to those who ask
    about it, but no reason to take the whole server for unready. `config` and `metadata` are those of the upstream that
    runs it, None where there are none.
    `answers` says whether a request can be answered now: an endpoint is connected, or a fallback of the chain answers
    (`falls_back`). `upstream_statistics(name, version, call)` tells the stats of upstreams by model, all for no name,
    or None where they keep none.
    `forward` answers unary methods about a model that only its upstreams know, of whichever version. `shared_here`:
    whether its share of the requests is decided here, and not by its upstreams.
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    statistics: Callable[[], Statistics]
    batchable: bool
    max_batch: int
    ready: bool = False
    reason: str = ""
    failing: bool = False
    missing: bool = False
    platform: str = "onnxruntime_onnx"
    backend: str = "onnxruntime"
    config: Any = None
    metadata: Any = None
    properties: Mapping[str, str] = field(default_factory=dict)
    forward: Callable[[str, Message, Call], Awaitable[Message]] | None = None
    answers: Callable[[], bool] = lambda: True
    falls_back: Callable[[], bool] = lambda: False
    upstream_statistics: Told | None = None
    shared_here: bool = True

    @property
    def runs_here(self) -> bool:
        return self.upstream_statistics is None


def is_in_service(version: CatalogEntry) -> bool:
    if not version.ready or version.failing:
        return False
    if version.missing:
        # its fallback chain answers, unless its requests pass undecoded: then the upstream's NOT_FOUND is the answer
        return version.forward is None and version.falls_back()
    return version.answers()


def version_order(version: str) -> tuple[int, str]:
    """Sorts versions as numbers; one that is no number comes before all that are."""
    return (int(version), "") if version.isascii() and version.isdigit() else (-1, version)


def _twice(version: CatalogEntry) -> Problem:
    where = f"model {version.name} version {version.version}"
    how = "Leave `upstreams` of the model out, or take the version out of the repository or off the upstream"
    return Problem("the version is in the repository and on an upstream", where, how=how)


class Catalog:
    """Served versions by model name; iterates over all of them, models in the order given, versions ascending.

    weights: of the versions of a model, where they have any (models.weights). refused: (name, version, reason) of
    what the repository holds and cannot be served. servers: upstreams all of whose models are served, None where
    there are none. only_theirs: whether they run every model that is served. held: names of models that no version may
    answer, and whether a fallback is sure to. Raises ProblemsFound for a version that is served twice.
    """

    def __init__(
        self,
        served: Iterable[CatalogEntry],
        weights: Mapping[str, Mapping[str, int]] | None = None,
        refused: Iterable[tuple[str, str, str]] = (),
        servers: Servers | None = None,
        *,
        only_theirs: bool = False,
        held: Mapping[str, bool] | None = None,
    ) -> None:
        self.servers = servers
        self.only_theirs = only_theirs
        self.held = held or {}
        reasons: dict[tuple[str, str], tuple[str, str, str]] = {}
        for each in refused:
            if fault_of_name(each[0]) is None:
                reasons.setdefault(each[:2], each)  # of several the first
        self.refused = tuple(reasons.values())
        self._models: dict[str, dict[str, CatalogEntry]] = {}
        self._weights = weights or {}
        for version in served:
            versions = self._models.setdefault(version.name, {})
            if version.version in versions:
                raise ProblemsFound([_twice(version)])
            versions[version.version] = version
        for name, versions in self._models.items():
            self._models[name] = dict(sorted(versions.items(), key=lambda item: version_order(item[0])))

    def __iter__(self) -> Iterator[CatalogEntry]:
        for versions in self._models.values():
            yield from versions.values()

    def __len__(self) -> int:
        return sum(map(len, self._models.values()))

    @property
    def shares(self) -> dict[str, dict[str, float]]:
        """Of the requests that name no version, 0 to 1, by model and version, where they are decided here."""
        return {
            name: fractions(list(versions), self._weights.get(name))
            for name, versions in self._models.items()
            if all(version.shared_here for version in versions.values())
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._models)

    def versions(self, name: str) -> tuple[CatalogEntry, ...]:
        """The model's versions, ascending. Raises RpcError NOT_FOUND, naming models spelt nearly so; UNAVAILABLE for
        one that no version may answer."""
        try:
            return tuple(self._models[name].values())
        except KeyError:
            if name in self.held:
                raise RpcError(Code.UNAVAILABLE, NO_VERSION, "NO_VERSION") from None
            raise RpcError(Code.NOT_FOUND, self.explain_unknown(name), "UNKNOWN_MODEL") from None

    def lookup(self, name: str, version: str = "") -> CatalogEntry:
        """The version asked for; if none is, the one of most weight, or the highest. Raises RpcError NOT_FOUND."""
        versions = self.versions(name)
        if versions[-1].forward is not None:
            return versions[-1]
        if not version:
            version = primary(list(self._models[name]), self._weights.get(name))
        try:
            return self._models[name][version]
        except KeyError:
            raise RpcError(Code.NOT_FOUND, _unknown_version(name, version, versions), "UNKNOWN_VERSION") from None

    def has(self, name: str, version: str) -> bool:
        """Whether it is served; without a version, whether any is."""
        versions = self._models.get(name, {})
        return version in versions if version else bool(versions)

    def forwarder(self, name: str) -> Callable[[str, Message, Call], Awaitable[Message]] | None:
        """Who answers for the model in our place, None where we do."""
        versions = self._models.get(name)
        return next(iter(versions.values())).forward if versions else None

    def not_ready(self) -> list[str]:
        """One line for each version that is not ready, with the reason."""
        return [f"{v.name} version {v.version}: {v.reason or 'loading'}" for v in self if not v.ready]

    def explain_unknown(self, name: str) -> str:
        """What to tell a client that asked for a model that is not served: near names, or some that are."""
        if any(name == refused for refused, _, _ in self.refused):
            return f"model {clip(name)!r} is known and cannot be served: RepositoryIndex says why"
        if not self._models:
            return f"unknown model {clip(name)!r}: no model is served"
        suggestion = did_you_mean(name, self._models)
        if suggestion:
            return f"unknown model {clip(name)!r}: {suggestion}"
        listed = ", ".join(clip(n) for n in islice(self._models, LISTED_NAMES))
        unlisted = len(self._models) - LISTED_NAMES
        return f"unknown model {clip(name)!r}: served are {listed}{f' and {unlisted} more' if unlisted > 0 else ''}"


def _unknown_version(name: str, version: str, versions: tuple[CatalogEntry, ...]) -> str:
    newest = [v.version for v in versions[-LISTED_VERSIONS:]]
    more = f" and {len(versions) - len(newest)} older" if len(versions) > len(newest) else ""
    return f"model {clip(name)!r} has no version {clip(version)!r}: there are {', '.join(newest)}{more}"
