"""Shadows: who else gets a model's requests, which of them, and how much worse than the model their answers may be."""

from typing import Annotated, Self

from modelward.config.access import By, sources
from modelward.config.fields import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from modelward.config.remote_model import check_tls_has_upstreams
from modelward.config.section import Section
from modelward.config.tls import UpstreamTls
from modelward.config.units import SECOND, Duration, KiB, MiB, Size, UnitError
from modelward.config.upstream import Upstreams

MOST_SHADOWS = 8  # of one model


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _off(value: object) -> object:
    return None if value == "off" else value


_OFF = BeforeValidator(_off)
_WRITTEN = PlainSerializer(lambda bound: "off" if bound is None else bound, when_used="json")
Share = Annotated[
    Annotated[float, Field(ge=0, le=1)] | None,
    _OFF,
    _WRITTEN,
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"const": "off"}]}),
]
Ratio = Annotated[
    Annotated[float, Field(ge=1, le=1000)] | None,
    _OFF,
    _WRITTEN,
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 1, "maximum": 1000}, {"const": "off"}]}),
]


class Bounds(Section):
    """How much worse than the model a shadow may be. Its verdict is `worse` where it certainly exceeds one of these."""

    disagreement: Share = 0.01
    """Share of labels that differ (of numbers, where outputs have no labels), beyond what a shadow of the model's own
    version differs. `off`: not judged."""
    errors: Share = 0.005
    """Share of requests that only the shadow fails, minus those that only the model fails. `off`: not judged."""
    latency: Ratio = None
    """The shadow's 95th percentile, as a multiple of the model's. Below 1.3 it may never be decided. Absent or `off`:
    not judged."""

    @model_validator(mode="after")
    def _something_is_judged(self) -> Self:
        if self.disagreement is None and self.errors is None and self.latency is None:
            raise UnitError("every bound is off", "Give one of disagreement, errors and latency a number")
        return self


class Only(Section):
    """Which requests are mirrored: those that match every key."""

    identity: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(default=(), strict=False, max_length=64)
    """Names of callers, where * stands for any characters: spiffe://prod/*, team-a."""
    by: By = Field(default=("any",), strict=False, min_length=1)
    """How the identity must be proved. A token and a key of the same name are two identities."""
    anomalous: bool | None = None
    """true: requests that the anomaly guard flags. false: requests that it does not flag."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.identity and self.anomalous is None:
            raise UnitError("only says nothing", "Write identity: [NAME] or anomalous: true, or leave it out")
        if "" in self.identity:
            raise UnitError("an identity is empty", "Write a name, with * for any characters")
        if not self.identity and "by" in self.model_fields_set:
            raise UnitError("by is set and there is no identity beside it", 'Write identity: ["*"], or leave it out')
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """What may prove the identity, in the words of modelward_native.access.identity."""
        return tuple("token" if source == "jwt" else source for source in sources(self.by))


def _version(value: object) -> object:
    """YAML reads a version's number as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Shadow(Section):
    """Another version of the model, or other servers."""

    version: Annotated[str, BeforeValidator(_version)] | None = Field(default=None, pattern=r"^[!-~]{1,64}$")
    """A version of the same model. The version that answers itself: it shows how much the model disagrees with itself.
    """
    upstreams: Upstreams = ()
    """In place of version: servers that run the shadow: host:port, dns:///name:port or unix:/path."""
    upstream_tls: UpstreamTls | None = None
    """TLS to these servers. Absent: plain text."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the requests that are mirrored."""
    only: Only | None = None
    """Which requests are mirrored. Absent: all."""
    warmup: int = Field(default=100, ge=0, le=1_000_000)
    """Pairs that each worker does not count at the beginning."""
    deadline: Duration = SECOND
    """Longest time to the shadow's answer. No client waits for it."""
    concurrency: int = Field(default=64, ge=1, le=8192)
    """Requests in flight to the shadow. Further ones are not mirrored, but counted."""
    inflight_bytes: Size = Field(default=64 * MiB, ge=KiB)
    """Bytes of requests and answers that are held for the shadow. Further requests are not mirrored, but counted."""
    tolerance: float = Field(default=0.001, ge=0, lt=1)
    """Relative difference of two numbers that still agree, where outputs have no labels."""
    bounds: Bounds = Bounds.default()
    samples: bool = True
    """true: keep the last few hundred requests on which it disagreed, with both answers, in the folder `state`."""

    @property
    def name(self) -> str:
        """As tables, metrics and commands call it."""
        return self.version if self.version is not None else self.upstreams[0]

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.version is None) == (not self.upstreams):
            how = 'Write version: "2", or upstreams: [HOST:PORT]'
            raise UnitError("a shadow has exactly one of version and upstreams", how)
        check_tls_has_upstreams(self.upstreams, self.upstream_tls)
        return self


def _several(value: object) -> object:
    """One mapping stands for a list of one."""
    return () if value is None else (value,) if isinstance(value, dict) else value


def _names_differ(shadows: tuple[Shadow, ...]) -> tuple[Shadow, ...]:
    names = [shadow.name for shadow in shadows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UnitError(f"two shadows are {twice!r}", "Keep one of them")
    return shadows


Shadows = Annotated[
    tuple[Shadow, ...],
    BeforeValidator(_several),
    AfterValidator(_names_differ),
    Field(strict=False, max_length=MOST_SHADOWS),
]
