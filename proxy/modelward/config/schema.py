"""Every key of the configuration, its type, default and meaning. What is not here is an error."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, PrivateAttr, WithJsonSchema, model_validator

from modelward.config.access import Access
from modelward.config.address import OFF, Address, AddressOrOff, ListenAddress
from modelward.config.canary import CanarySettings
from modelward.config.drain import Drain
from modelward.config.limit import LARGEST_BURST, IdentityLimit, Limit, PeerLimit, Shared
from modelward.config.log import LogSettings
from modelward.config.mode import DEFAULT_MODE, MODE_SCHEMA, parse_mode, write_mode
from modelward.config.promotion import PromotionSettings
from modelward.config.proxies import TrustedProxies
from modelward.config.section import Section
from modelward.config.shadow import Shadows
from modelward.config.tls import AdminTls, Tls, UpstreamTls
from modelward.config.units import SECOND, Duration, Rate, Size, UnitError
from modelward.config.upstream import Upstreams
from modelward.config.workers import MOST_WORKERS, WORKERS_SCHEMA, parse_workers
from modelward.model_names import fault_of_name
from modelward.problem import Problem

KiB, MiB = 2**10, 2**20
MINUTE = 60 * SECOND
# protobuf's own bound for one message
LARGEST_MESSAGE = 2**31 - 1
LARGEST_CONCURRENCY = 8192


class Listen(Section):
    """Addresses that the server listens on."""

    grpc: ListenAddress = Address(host="127.0.0.1", port=8001)
    """Address of the Open Inference Protocol (gRPC): host:port, [v6]:port or unix:/path."""
    mode: Annotated[int, BeforeValidator(parse_mode), PlainSerializer(write_mode, when_used="json"), MODE_SCHEMA] = (
        DEFAULT_MODE
    )
    """Permissions of the Unix socket of listen.grpc, in quotes, as chmod takes them."""
    http: ListenAddress = Address(host="127.0.0.1", port=8002)
    """Address of /metrics, /healthz and /readyz, in plain HTTP."""
    admin: AddressOrOff = Address(host="127.0.0.1", port=8003)
    """Address of the admin API. `off`: there is none. Every client that can connect may use all of it. A Unix socket
    admits only the server's user and root. An address that other machines can reach needs admin_tls."""


def _tls_has_upstreams(upstreams: tuple[str, ...], tls: UpstreamTls | None) -> None:
    if tls is not None and not upstreams:
        raise UnitError("upstream_tls is set and there are no upstreams beside it", "Set upstreams, or leave it out")


class Connections(Section):
    total: int | None = Field(default=None, ge=1, le=1_000_000)
    """Open connections of all peers together. Absent: 20,000, or what the limit of open files allows."""
    per_peer: int | None = Field(default=None, ge=1, le=1_000_000)
    """Open connections of one peer. Absent: 1,000, or a quarter of what the limit of open files allows."""
    rate_per_peer: Rate = 200.0
    """New connections of one peer."""


class Ipv6(Section):
    """Which IPv6 addresses are one peer."""

    prefix: int = Field(default=64, ge=48, le=128)
    """Length of the network prefix that is one peer. A host usually has a /64, a home often a /56. NAT64 (64:ff9b::/96)
    and 6to4 addresses count as the IPv4 address inside them."""
    peers: int = Field(default=16, ge=1, le=1024)
    """Peers of one /48 that have budgets of their own. A /56 has a quarter of that. All further peers of the network
    share one budget. A peer keeps its budget for a minute after its last connection."""


class Timeouts(Section):
    handshake: Duration = 5 * SECOND
    """Time in which a new connection must send its HTTP/2 preface and SETTINGS."""
    request: Duration = 30 * SECOND
    """Time in which the headers and the body of a request must arrive."""
    idle_stream: Duration = 5 * MINUTE
    """A stream without traffic for this long is reset."""
    idle_connection: Duration = 60 * MINUTE
    """A connection without a stream for this long is closed."""
    stalled: Duration = 30 * SECOND
    """A connection that accepts none of its queued bytes for this long is closed."""


class Limits(Section):
    """Limits of rates, sizes and connections."""

    peer: PeerLimit | None = None
    """Rate limit of each peer address. Absent: no limit."""
    identity: IdentityLimit | None = None
    """Rate limit of each identity. A request without an identity counts for its peer address. Absent: no limit."""
    total: Limit | None = None
    """Rate limit of all requests together. Absent: no limit."""
    shared: Shared | None = None
    """Store through which several servers hold one identity, one model and one total limit together. Absent: each
    server has its own. Each server always has its own peer limits."""
    message_size: Size = Field(default=16 * MiB, ge=KiB, le=LARGEST_MESSAGE)
    """Largest message, before and after decompression."""
    inflight_bytes: Size = Field(default=256 * MiB, ge=KiB)
    """Bytes of all requests in flight, and of responses that clients have not read yet."""
    inflight_share: float = Field(default=0.5, gt=0, le=1)
    """Largest share of inflight_bytes that one peer or identity may hold while no other holds any. The share shrinks as
    less is free: with 0.5, eight callers that take all they can hold a ninth each, and a ninth stays free. With 1, one
    caller may take everything. A caller may always hold one message of message_size. The same share limits how many of
    an upstream's streams one caller may use."""
    connections: Connections = Connections()
    """Limits of connections. They are always on."""
    ipv6: Ipv6 = Ipv6()
    """How IPv6 addresses are counted. It is always on."""
    streams: int = Field(default=128, ge=1, le=10_000)
    """Concurrent streams of one connection."""
    timeouts: Timeouts = Timeouts()
    """Timeouts against slow peers. They are always on."""

    @model_validator(mode="after")
    def _one_message_fits(self) -> Self:
        if self.inflight_bytes < self.message_size:
            raise UnitError("inflight_bytes is smaller than message_size", "Raise inflight_bytes or lower message_size")
        return self


class Batching(Section):
    """How requests share a run of the model."""

    max: int = Field(default=256, ge=1, le=65_536)
    """Most rows of one run. 1 turns batching off."""


def _concurrency(value: object) -> object:
    if value in ("adaptive", "off"):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_CONCURRENCY:
        return value
    raise UnitError(
        f"{value!r} is not a concurrency", f"Write adaptive, off, or a number from 1 to {LARGEST_CONCURRENCY}"
    )


class Admission(Section):
    """How many requests the backend of a model has at a time, and which requests wait."""

    concurrency: Annotated[
        Literal["adaptive", "off"] | int,
        BeforeValidator(_concurrency),
        WithJsonSchema({"anyOf": [{"enum": ["adaptive", "off"]}, {"type": "integer", "minimum": 1}]}),
    ] = "adaptive"
    """Requests that the backend has at a time. `adaptive`: as many as do not make it slower. `off`: no limit."""
    queue: int = Field(default=1024, ge=0, le=65_536)
    """Requests that may wait. The queue is fair between identities and goes by priority within an identity. When it is
    full, the least urgent request of the identity with the most waiting requests is refused."""
    priority_across_identities: bool = False
    """true: the priority that a request asks for counts before fairness between identities. An identity that may ask
    for a high priority can then keep all others waiting."""


class LastGood(Section):
    """The last answer to an identical request. With upstreams: of the same caller, with the same metadata."""

    entries: int = Field(default=1024, ge=1, le=2**20)
    """Answers that are kept. Each has at most 64 KiB."""
    memory: Size = Field(default=16 * MiB, ge=MiB)
    """Bytes that the answers may take in each worker. Beyond it a new answer replaces an older one, or is not kept."""
    max_age: Duration = 5 * MINUTE
    """An older answer is not used."""


class Rung(Section):
    """One fallback of the chain: the last good answer, another model, or a constant value."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["last_good"]}, {"required": ["model"]}, {"required": ["value"]}]}
    )

    last_good: LastGood | None = None
    """Answers an identical request as it was answered last. Where there is no such answer, the next fallback is tried.
    """

    model: str | None = None
    """Asks another model of the same repository, which has the same inputs and outputs."""
    value: dict[str, Any] | None = None
    """Answers with constant outputs: output name -> nested list. A first dimension of 1 is repeated for every row of
    the request."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.model, self.value, self.last_good).count(None) != 2:
            how = "Write - model: NAME, - value: {OUTPUT: [[...]]}, or - last_good: {}"
            raise UnitError("a fallback has exactly one of model, value and last_good", how)
        return self


AnomalyMode = Literal["off", "observe", "tag", "fallback", "reject"]


class Anomaly(Section):
    """How inputs are compared with the training data."""

    profile: Path | None = Field(default=None, strict=False)
    """File of the training profile, relative to the folder of the model's version. Absent: profile.npz there, if it
    exists. For a model with upstreams: relative to the configuration file; absent: no profile."""
    mode: AnomalyMode = "observe"
    """What happens to a flagged request. `observe`: it is only measured. `tag`: the response says that it is flagged.
    `fallback`: the fallback chain answers. `reject`: it is refused. `off`: nothing is scored."""
    false_positive_rate: float = Field(default=0.001, gt=0, lt=1)
    """Share of normal rows that may be flagged."""
    unscored: Literal["refuse", "allow"] = "refuse"
    """In the modes fallback and reject: what happens to a request that cannot be scored, because its inputs are in an
    upstream's shared memory, or because the profile does not fit its shapes. `refuse`: it is treated as flagged.
    `allow`: it passes. In all other modes it passes."""


class Hedging(Section):
    """Requests that are sent to a second upstream because the first one is slow."""

    budget: float = Field(default=0.05, gt=0, le=0.5)
    """Largest share of requests that may be sent to a second upstream."""


Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "BF16",
    "FP32",
    "FP64",
    "BYTES",
]


class Tensor(Section):
    name: str = Field(min_length=1, max_length=256)
    """Name of the tensor in the model."""
    datatype: Datatype
    """Datatype of its elements, as the protocol names it."""
    shape: Annotated[tuple[Annotated[int, Field(ge=-1)], ...], Field(strict=False, max_length=16)]
    """Dimensions, rows first. -1 for a dimension that varies."""


Tensors = Annotated[tuple[Tensor, ...], Field(strict=False, min_length=1, max_length=256)]


class Signature(Section):
    """Inputs and outputs of a model."""

    inputs: Tensors
    """Inputs that a request must have."""
    outputs: Tensors
    """Outputs that a response may have."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for kind, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [tensor.name for tensor in tensors]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise UnitError(f"two {kind} are called {twice!r}", "Rename or remove one of them")
        return self


class Health(Section):
    """Checks use grpc.health.v1 where an upstream has it, otherwise ServerReady."""

    interval: Duration = Field(default=5 * SECOND, ge=SECOND // 10)
    """Time between two checks of an upstream, plus or minus a fifth."""
    timeout: Duration = Field(default=SECOND, gt=0)
    """A check that takes longer has failed. Two failures in a row take the upstream out of service. One success brings
    it back."""
    startup: Duration = 30 * SECOND
    """How long the start waits for upstreams that must be asked for signatures. Models without a signature then pass
    requests undecoded."""
    refresh: Duration = Field(default=30 * SECOND, ge=SECOND // 10)
    """Time between two questions to upstreams for their models and signatures, plus or minus a fifth. They are also
    asked when refusals hint at a change, and after a reconnect."""


class Breaker(Section):
    """A circuit breaker takes an endpoint out of service although it is connected and its checks succeed.

    Where fewer than half of a model's connected endpoints are in service, requests go to all of them, as with Envoy's
    panic threshold. The breaker of a model's only endpoint therefore stops no requests.
    """

    consecutive_failures: int = Field(default=5, ge=0, le=LARGEST_BURST)
    """Failures in a row that open the breaker. 0: they do not open it."""
    success_rate: float = Field(default=0.5, ge=0, le=1)
    """The breaker opens when the share of successes within the window is below this. 0: it does not."""
    min_requests: int = Field(default=20, ge=1, le=LARGEST_BURST)
    """Requests within the window before success_rate counts."""
    window: Duration = Field(default=10 * SECOND, ge=SECOND // 10)
    """Time over which success_rate is measured."""
    ejection: Duration = Field(default=10 * SECOND, ge=SECOND // 1000)
    """How long the breaker is open the first time. Each further time it is open for this much longer, unless the
    endpoint worked for as long in between. Then one request tests the endpoint: if it succeeds, the breaker closes."""
    max_ejection: Duration = 5 * MINUTE
    """Longest time that the breaker is open."""
    max_inflight: int = Field(default=1024, ge=1, le=LARGEST_BURST)
    """Requests in flight to one endpoint. Further requests go to another endpoint, or are refused."""

    @model_validator(mode="after")
    def _ejections_grow(self) -> Self:
        if self.max_ejection < self.ejection:
            raise UnitError("max_ejection is shorter than ejection", "Raise max_ejection or lower ejection")
        return self


class Retries(Section):
    """A request that an upstream has certainly not begun is always sent to another one."""

    unanswered: bool = False
    """true: also retries a request that the upstream may have begun, when the upstream dies or falls silent before it
    answers. Only for models whose runs change nothing. Requests with a sequence_id are never retried."""


def _by_number(weights: object) -> object:
    """YAML reads a version's number as a number."""
    return {str(version): weight for version, weight in weights.items()} if isinstance(weights, Mapping) else weights


Weight = Annotated[int, Field(ge=0, le=1_000_000)]


VersionPolicy = Literal["newest", "promoted", "explicit"]


class ModelSettings(Section):
    """Settings of one model. REPOSITORY/NAME/model.yaml takes the same keys. Where both set a key, the main file
    counts."""

    upstreams: Upstreams = ()
    """Servers that run this model: host:port, dns:///name:port or unix:/path. Absent: it runs here."""
    upstream_tls: UpstreamTls | None = None
    """TLS to the upstreams of this model. Absent: plain text."""
    hedging: Hedging | None = None
    """Asks a second upstream when the first is slower than in 95 of 100 cases. Absent: never."""
    retries: Retries | None = None
    """Which requests are sent to a second upstream. Absent: those that the first has certainly not begun."""
    signature: Signature | None = None
    """Inputs and outputs of a model whose upstreams do not report them. The upstreams are not asked then. Without any
    signature, requests pass undecoded and unscored."""
    deadline: Duration | None = None
    """Longest time to a response. The client's deadline counts where it is earlier. Absent: only the client's deadline
    counts."""
    limit: Limit | None = None
    """Rate limit of all requests for this model. Absent: no limit."""
    admission: Admission = Admission()
    batching: Batching = Batching()
    run_memory: Size = Field(default=1024 * MiB, ge=MiB)
    """Most memory that a run of a model that runs here may hold beside its inputs. For small inputs the limit is lower:
    16 MiB, plus 16 KiB for each byte of input, plus for each row twice what the warm-up held."""
    fallback: Annotated[tuple[Rung, ...], BeforeValidator(lambda rungs: () if rungs is None else rungs)] = Field(
        default=(), strict=False
    )
    """Fallback chain. Its fallbacks are tried in order when the deadline passes, the model fails or is overloaded, or
    the anomaly mode is fallback."""
    anomaly: Anomaly = Anomaly()
    canary: CanarySettings = CanarySettings()
    versions: Annotated[Mapping[str, Weight], BeforeValidator(_by_number)] | None = Field(default=None, max_length=64)
    """Shares of the requests that name no version: {"1": 90, "2": 10}. A version that is not mentioned has none.
    Absent: version_policy chooses the version."""
    version_policy: VersionPolicy | None = None
    """Version policy of this model. Absent: the server's."""
    promotion: PromotionSettings = PromotionSettings()
    shadow: Shadows = ()
    """Shadows get the same requests as the model. Their answers are compared with the model's, and never reach a
    client. One mapping, or a list."""

    @model_validator(mode="after")
    def _some_version_has_weight(self) -> Self:
        if self.versions is not None and self.upstreams:
            raise UnitError("versions is set and the model has upstreams", "Upstreams choose the version: leave it out")
        if self.versions is not None and not any(self.versions.values()):
            raise UnitError("no version has any weight", "Give the one that is to answer a weight of 1")
        return self

    @model_validator(mode="after")
    def _signature_is_of_upstreams(self) -> Self:
        if self.signature is not None and not self.upstreams:
            raise UnitError("signature is only for models with upstreams", "An ONNX file has its own: leave it out")
        return self

    @model_validator(mode="after")
    def _canary_is_run_here(self) -> Self:
        if self.upstreams and self.canary != CanarySettings():
            raise UnitError("canary is only for models that run here", "The upstreams run this one: leave it out")
        return self

    @model_validator(mode="after")
    def _flagged_requests_are_answered(self) -> Self:
        flagged = any(shadow.only is not None and shadow.only.anomalous for shadow in self.shadow)
        if flagged and self.anomaly.mode not in ("observe", "tag"):
            raise UnitError(
                f"a shadow has only.anomalous: true and no such request gets there in anomaly.mode {self.anomaly.mode}",
                "Use mode observe or tag, or leave only.anomalous out",
            )
        return self

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        _tls_has_upstreams(self.upstreams, self.upstream_tls)
        if self.anomaly.mode == "fallback" and not self.fallback:
            raise UnitError(
                "anomaly.mode is fallback and the model has no fallback", "Add a fallback, or use mode reject"
            )
        return self


class Config(Section):
    """The configuration of one server."""

    listen: Listen = Listen()
    workers: Annotated[int, BeforeValidator(parse_workers), WORKERS_SCHEMA] = Field(default=1, ge=1, le=MOST_WORKERS)
    """Worker processes. They have one listener, one set of limits and one set of statistics. `auto`: one for each core.
    """
    repository: Path | None = Field(default=None, strict=False)
    """Folder with REPOSITORY/NAME/VERSION/model.onnx, or one .onnx file. Relative to the configuration file."""
    strict: bool = False
    """true: do not start, and change no model at a reload, while any model of the repository cannot be served. false:
    serve the others, and report which are refused."""
    load_timeout: Duration = Field(default=60 * SECOND, ge=SECOND // 10)
    """Longest time to check, open and try one version of a model. A version that takes longer is refused. Raise it for
    large models on slow machines."""
    watch: bool = True
    """true: follow every change of the configuration file and the repository. false: reload only on SIGHUP and
    `modelward reload`."""
    upstreams: Upstreams = ()
    """Servers whose models are all served through this one, beside those of the repository."""
    upstream_tls: UpstreamTls | None = None
    """TLS to the servers of `upstreams`. Models with upstreams of their own have their own upstream_tls."""
    tls: Tls | None = None
    """TLS on listen.grpc. Absent: plain text (h2c with prior knowledge)."""
    admin_tls: AdminTls | None = None
    """mTLS on listen.admin. Absent: plain text."""
    access: Access | None = None
    """Who may call what. Absent: every client may call everything."""
    trusted_proxies: TrustedProxies = ()
    """Networks of proxies whose x-forwarded-for is believed. The peer is the right-most address in it that is not
    theirs. `unix:` stands for every client of a Unix socket."""
    health: Health = Health()
    """Health checks of upstreams."""
    breaker: Breaker = Breaker()
    """Circuit breaker of each endpoint of each upstream."""
    passthrough: bool = False
    """true: methods that Modelward does not know (shared memory, traces, model repository) go to `upstreams`. Limits
    apply to them, but nothing reads them."""
    limits: Limits = Limits()
    drain: Drain = Drain()
    log: LogSettings = LogSettings()
    """What is written to stderr. A change needs a restart."""
    state: Path | None = Field(default=None, strict=False)
    """Folder for data that outlives a restart: promotions, samples of shadows, and the key that ties callers to
    versions. It is made when the first of these is written. The key is written at the first start with access or
    sticky_header. Absent: the folder that the service manager gives ($STATE_DIRECTORY), otherwise .modelward in the
    working folder."""
    version_policy: VersionPolicy = "newest"
    """Which version of a model without `versions` answers requests that name none. `newest`: the newest, as soon as it
    arrives. `promoted`: the one that did so far, until another is promoted; where `state` has no record of one, the
    oldest. `explicit`: `versions` must be set."""
    sticky_header: str | None = Field(default=None, pattern=r"^[a-z0-9_.-]{1,64}$")
    """Requests with the same value of this header get the same version, where several versions have a share. Without
    the header, requests of the same identity do."""
    models: Annotated[Mapping[str, ModelSettings], BeforeValidator(lambda models: {} if models is None else models)] = (
        Field(default_factory=dict)
    )
    """Settings by model name."""

    @model_validator(mode="after")
    def _tls_has_upstreams(self) -> Self:
        _tls_has_upstreams(self.upstreams, self.upstream_tls)
        return self

    @model_validator(mode="after")
    def _names_can_be_models(self) -> Self:
        for name in self.models:
            if fault := fault_of_name(name):
                raise UnitError(f"models: {fault[0]}: {fault[1]}", "Rename the model")
        return self

    @model_validator(mode="after")
    def _second_asking_has_upstreams(self) -> Self:
        for name, settings in self.models.items():
            for key, value in (("hedging", settings.hedging), ("retries", settings.retries)):
                if value is not None and not (settings.upstreams or self.upstreams):
                    raise UnitError(
                        f"models.{name}.{key} is set and there are no upstreams", "Set upstreams, or leave it out"
                    )
        return self

    @model_validator(mode="after")
    def _certificates_have_an_authority(self) -> Self:
        if self.access is not None and self.access.certificates and (self.tls is None or self.tls.client_ca is None):
            raise UnitError(
                "access.certificates is true and no client certificate is ever asked for",
                "Set tls.client_ca to the authority of the clients' certificates",
            )
        return self

    @model_validator(mode="after")
    def _admin_lets_no_strangers_in(self) -> Self:
        admin = self.listen.admin
        if self.admin_tls is None and admin is not None and not admin.is_local:
            raise UnitError(
                f"listen.admin is {admin}, which other machines reach, and there is no admin_tls",
                "Set admin_tls: {certificate, key, client_ca}, or listen on 127.0.0.1:8003 or unix:/path/of.sock",
            )
        if self.admin_tls is not None and (admin is None or admin.is_unix):
            raise UnitError(
                f"admin_tls is set and listen.admin is {admin or OFF}", "Leave it out, or listen on an address"
            )
        return self

    @model_validator(mode="after")
    def _passthrough_has_upstreams(self) -> Self:
        if self.passthrough and not self.upstreams:
            raise UnitError(
                "passthrough is true and there are no upstreams", "Add upstreams: [HOST:PORT], or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _identities_are_known(self) -> Self:
        if self.limits.identity is not None and self.limits.identity.overrides and self.access is None:
            raise UnitError(
                "limits.identity.overrides is set and no caller has an identity",
                "Set access, or write limits.peer.overrides",
            )
        return self

    @model_validator(mode="after")
    def _shadows_know_callers(self) -> Self:
        for name, settings in self.models.items():
            if self.access is None and any(shadow.only and shadow.only.identity for shadow in settings.shadow):
                raise UnitError(
                    f"a shadow of models.{name} has only.identity and no caller has an identity",
                    "Set access, or leave it out",
                )
        return self

    def upstream_tls_of(self, name: str) -> UpstreamTls | None:
        """TLS towards the upstreams of a model, its own or the server's; None for plain text."""
        settings = self.settings(name)
        return settings.upstream_tls if settings.upstreams else self.upstream_tls

    def policy(self, name: str) -> VersionPolicy:
        """Of a model, its own or the server's."""
        return self.settings(name).version_policy or self.version_policy

    def settings(self, name: str) -> ModelSettings:
        """The settings of a model, the defaults where it has none."""
        return self.models.get(name) or ModelSettings()

    # models whose own model.yaml cannot be used, and why; they are refused
    _unusable: dict[str, tuple[Problem, ...]] = PrivateAttr(default_factory=dict)
    # what the configuration says of models and the repository does not allow: nothing of the models changes
    _unfitting: tuple[Problem, ...] = PrivateAttr(default=())

    @property
    def unusable(self) -> Mapping[str, tuple[Problem, ...]]:
        return self._unusable

    @property
    def unfitting(self) -> tuple[Problem, ...]:
        return self._unfitting

    def with_findings(self, unusable: Mapping[str, tuple[Problem, ...]], unfitting: Iterable[Problem]) -> Self:
        """The same, with what reading the repository's settings has found."""
        config = self.model_copy()
        config._unusable, config._unfitting = dict(unusable), tuple(unfitting)
        return config
