"""Every key of the configuration, its type, default and meaning. What is not here is an error."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from proxy.config.address import Address, ListenAddress
from proxy.config.units import SECOND, Duration, Rate, Size, UnitError
from proxy.config.upstream import HOW as UPSTREAM_HOW
from proxy.config.upstream import parse_upstream

KiB, MiB = 2**10, 2**20
MINUTE = 60 * SECOND
# protobuf's own bound for one message
LARGEST_MESSAGE = 2**31 - 1
LARGEST_BURST = 2**31 - 1


class Section(BaseModel):
    """A mapping of known keys. One with nothing below it is empty, so that all its lines can be commented out."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, data: object) -> object:
        return {} if data is None else data


def default_burst(rate: float) -> int:
    """A tenth of a second's worth, at least one: absorbs a client's bundle of calls, hides no lasting excess."""
    return max(1, round(rate / 10))


class Limit(Section):
    """A rate that holds over time and the burst that may come at once (GCRA)."""

    rate: Rate
    """Requests per second, minute or hour: 1000/s, 60/m."""
    burst: int = Field(
        default_factory=lambda known: default_burst(known["rate"]),
        ge=1,
        le=LARGEST_BURST,
    )
    """Requests that may come at once; absent: a tenth of a second's worth, at least 1."""


class Listen(Section):
    grpc: ListenAddress = Address(host="127.0.0.1", port=8001)
    """The Open Inference Protocol: host:port, [v6]:port or unix:/path."""
    http: ListenAddress = Address(host="127.0.0.1", port=8002)
    """/metrics, /healthz and /readyz."""


class Connections(Section):
    total: int = Field(default=20_000, ge=1, le=1_000_000)
    """Open connections over all peers."""
    per_peer: int = Field(default=1_000, ge=1, le=1_000_000)
    """Open connections of one peer address."""
    rate_per_peer: Rate = 200.0
    """New connections of one peer address."""


class Timeouts(Section):
    handshake: Duration = 5 * SECOND
    """Preface and SETTINGS must have come."""
    request: Duration = 30 * SECOND
    """Headers and body of one request must have come."""
    idle_stream: Duration = 5 * MINUTE
    """A stream on which nothing moves is reset."""
    idle_connection: Duration = 60 * MINUTE
    """A connection without a stream is closed."""
    stalled: Duration = 30 * SECOND
    """A connection that takes none of the bytes queued for it is closed."""


class Limits(Section):
    peer: Limit | None = None
    """Of each peer address; absent: no limit."""
    identity: Limit | None = None
    """Of each identity; the peer address stands for it until a request has one. Absent: no limit."""
    total: Limit | None = None
    """Of all requests together; absent: no limit."""
    message_size: Size = Field(default=16 * MiB, ge=KiB, le=LARGEST_MESSAGE)
    """Of one message, before and after decompression."""
    inflight_bytes: Size = Field(default=256 * MiB, ge=KiB)
    """Bytes of all requests that have begun and not ended, and of answers that clients have not taken yet."""
    connections: Connections = Connections()
    """Armour against connection floods; always on."""
    streams: int = Field(default=128, ge=1, le=10_000)
    """Concurrent streams of one connection."""
    timeouts: Timeouts = Timeouts()
    """Armour against slow peers; always on."""

    @model_validator(mode="after")
    def _one_message_fits(self) -> Self:
        if self.inflight_bytes < self.message_size:
            raise UnitError("inflight_bytes is smaller than message_size", "Raise inflight_bytes or lower message_size")
        return self


class Batching(Section):
    max: int = Field(default=256, ge=1, le=65_536)
    """Rows of one run of the model; 1 turns batching off."""


class Rung(Section):
    """One rung of the fallback ladder: another model, or a constant value."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["model"]}, {"required": ["value"]}]})

    model: str | None = None
    """A model of the same repository with the same inputs and outputs."""
    value: dict[str, Any] | None = None
    """Output name -> nested list; a first dimension of 1 is repeated for every row of the request."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.model is None) == (self.value is None):
            raise UnitError(
                "a rung has exactly one of model and value", "Write - model: NAME, or - value: {OUTPUT: [[...]]}"
            )
        return self


AnomalyMode = Literal["off", "observe", "tag", "fallback", "reject"]


class Anomaly(Section):
    profile: Path | None = Field(default=None, strict=False)
    """The training profile, relative to the folder of the model's version; absent: profile.npz there, if it exists."""
    mode: AnomalyMode = "observe"
    """observe: measured only; tag: told to the client; fallback: answered by the ladder; reject: refused."""
    false_positive_rate: float = Field(default=0.001, gt=0, lt=1)
    """Share of normal rows that may be called anomalous."""


def _upstream(text: object) -> str:
    if not isinstance(text, str):
        raise UnitError(f"{text!r} is not an upstream address", UPSTREAM_HOW)
    parse_upstream(text)
    return text


Upstreams = Annotated[tuple[Annotated[str, BeforeValidator(_upstream)], ...], Field(strict=False)]


class Hedging(Section):
    budget: float = Field(default=0.05, gt=0, le=0.5)
    """Requests that may be sent to a second upstream as well, per request."""


class ModelSettings(Section):
    """Settings of one model. REPOSITORY/NAME/model.yaml takes the same keys; the main file wins key by key."""

    upstreams: Upstreams = ()
    """Servers that run this model: host:port, dns:///name:port, unix:/path. Absent: it is run here."""
    hedging: Hedging | None = None
    """Ask a second upstream where the first is slower than in 95 of 100 cases; absent: never."""
    deadline: Duration | None = None
    """The longest that an answer may take; absent: the client's own deadline counts."""
    limit: Limit | None = None
    """Of all requests for this model; absent: no limit."""
    batching: Batching = Batching()
    fallback: Annotated[tuple[Rung, ...], BeforeValidator(lambda rungs: () if rungs is None else rungs)] = Field(
        default=(), strict=False
    )
    """Rungs, tried in order when the deadline passes, the model fails or the anomaly mode says so."""
    anomaly: Anomaly = Anomaly()

    @model_validator(mode="after")
    def _fallback_mode_has_a_rung(self) -> Self:
        if self.anomaly.mode == "fallback" and not self.fallback:
            raise UnitError("anomaly.mode is fallback and the model has no fallback", "Add a rung, or use mode reject")
        return self


def _one_worker(workers: int) -> int:
    if workers != 1:
        raise UnitError(f"{workers} workers are not supported by this version", "Write workers: 1 or leave it out")
    return workers


class Config(Section):
    """The configuration of one server, complete: every default filled in."""

    listen: Listen = Listen()
    workers: Annotated[int, AfterValidator(_one_worker)] = Field(default=1, json_schema_extra={"const": 1})
    """Processes of the data plane."""
    repository: Path | None = Field(default=None, strict=False)
    """REPOSITORY/NAME/VERSION/model.onnx, or one .onnx file; relative to the configuration file."""
    upstreams: Upstreams = ()
    """Servers whose every model is served through, besides the repository's."""
    limits: Limits = Limits()
    models: Annotated[Mapping[str, ModelSettings], BeforeValidator(lambda models: {} if models is None else models)] = (
        Field(default_factory=dict)
    )
    """Settings by model name."""

    def settings(self, name: str) -> ModelSettings:
        """The settings of a model, the defaults where it has none."""
        return self.models.get(name) or ModelSettings()
