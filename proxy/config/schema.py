"""Every key of the configuration, its type, default and meaning. What is not here is an error."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, PrivateAttr, WithJsonSchema, model_validator

from proxy.config.access import Access
from proxy.config.address import OFF, Address, AddressOrOff, ListenAddress
from proxy.config.canary import CanarySettings
from proxy.config.drain import Drain
from proxy.config.limit import LARGEST_BURST, IdentityLimit, Limit, PeerLimit, Shared
from proxy.config.log import LogSettings
from proxy.config.mode import DEFAULT_MODE, MODE_SCHEMA, parse_mode, write_mode
from proxy.config.names import fault_of_name
from proxy.config.promotion import PromotionSettings
from proxy.config.proxies import TrustedProxies
from proxy.config.section import Section
from proxy.config.shadow import Shadows
from proxy.config.tls import AdminTls, Tls, UpstreamTls
from proxy.config.units import SECOND, Duration, Rate, Size, UnitError
from proxy.config.upstream import Upstreams
from proxy.config.workers import MOST_WORKERS, WORKERS_SCHEMA, parse_workers
from proxy.problem import Problem

KiB, MiB = 2**10, 2**20
MINUTE = 60 * SECOND
# protobuf's own bound for one message
LARGEST_MESSAGE = 2**31 - 1
LARGEST_CONCURRENCY = 8192


class Listen(Section):
    grpc: ListenAddress = Address(host="127.0.0.1", port=8001)
    """The Open Inference Protocol: host:port, [v6]:port or unix:/path."""
    mode: Annotated[int, BeforeValidator(parse_mode), PlainSerializer(write_mode, when_used="json"), MODE_SCHEMA] = (
        DEFAULT_MODE
    )
    """Who may connect to the Unix socket of listen.grpc, as chmod writes it, in quotes."""
    http: ListenAddress = Address(host="127.0.0.1", port=8002)
    """/metrics, /healthz and /readyz."""
    admin: AddressOrOff = Address(host="127.0.0.1", port=8003)
    """The admin API, of which whoever can connect may use everything; off: none. A Unix socket lets this user in alone;
    an address that other machines reach needs admin_tls."""


def _tls_has_upstreams(upstreams: tuple[str, ...], tls: UpstreamTls | None) -> None:
    if tls is not None and not upstreams:
        raise UnitError("upstream_tls is set and there are no upstreams beside it", "Set upstreams, or leave it out")


class Connections(Section):
    total: int | None = Field(default=None, ge=1, le=1_000_000)
    """Open connections over all peers. Absent: 20,000, or as many as the limit of open files leaves room for."""
    per_peer: int | None = Field(default=None, ge=1, le=1_000_000)
    """Open connections of one peer address. Absent: 1,000, or a quarter of what that limit leaves room for."""
    rate_per_peer: Rate = 200.0
    """New connections of one peer address."""


class Ipv6(Section):
    """What a peer is where addresses are not scarce."""

    prefix: int = Field(default=64, ge=48, le=128)
    """Bits of an address that are one peer: a host has a network of 64, a home often one of 56. Addresses of NAT64
    (64:ff9b::/96) and 6to4 are the IPv4 address within them."""
    peers: int = Field(default=16, ge=1, le=1024)
    """Peers of one /48 that have budgets of their own, and a quarter as many of one /56; the others in it share one. A
    peer keeps its place for a minute after its last connection."""


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
    peer: PeerLimit | None = None
    """Of each peer address; absent: no limit."""
    identity: IdentityLimit | None = None
    """Of each identity; the peer address stands for it until a request has one. Absent: no limit."""
    total: Limit | None = None
    """Of all requests together; absent: no limit."""
    shared: Shared | None = None
    """Hold identity, model and total limits together with other servers; absent: each server has its own. That of peers
    is each server's own in any case."""
    message_size: Size = Field(default=16 * MiB, ge=KiB, le=LARGEST_MESSAGE)
    """Of one message, before and after decompression."""
    inflight_bytes: Size = Field(default=256 * MiB, ge=KiB)
    """Bytes of all requests that have begun and not ended, and of answers that clients have not taken yet."""
    inflight_share: float = Field(default=0.5, gt=0, le=1)
    """Of inflight_bytes, what one peer address or identity may hold while no other holds any. It is less, the less is
    free: with 0.5, eight that take all they can have a ninth each and leave a ninth. With 1, one may take all. One
    message of message_size may always be held. The same part of an upstream's streams is the most that one caller's
    relayed streams may take."""
    connections: Connections = Connections()
    """Armour against connection floods; always on."""
    ipv6: Ipv6 = Ipv6()
    """Which addresses are one peer; always on."""
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


def _concurrency(value: object) -> object:
    if value in ("adaptive", "off"):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_CONCURRENCY:
        return value
    raise UnitError(
        f"{value!r} is not a concurrency", f"Write adaptive, off, or a number from 1 to {LARGEST_CONCURRENCY}"
    )


class Admission(Section):
    """How many requests are with a model's backend at a time, and who waits for a place."""

    concurrency: Annotated[
        Literal["adaptive", "off"] | int,
        BeforeValidator(_concurrency),
        WithJsonSchema({"anyOf": [{"enum": ["adaptive", "off"]}, {"type": "integer", "minimum": 1}]}),
    ] = "adaptive"
    """adaptive: as many as do not make it slower; a number: so many; off: all at once."""
    queue: int = Field(default=1024, ge=0, le=65_536)
    """Requests that may wait: fairly between identities, and by priority within each of them. Of more, the least urgent
    of the identity that has most are refused."""
    priority_across_identities: bool = False
    """true: the priority that a request asks for counts before fairness between identities. An identity whose requests
    may ask for a high one can then keep all others waiting."""


class LastGood(Section):
    """The answer that the very same request had before; an upstream's: of the same caller, with the same metadata."""

    entries: int = Field(default=1024, ge=1, le=2**20)
    """Answers that are kept, of at most 64 KiB each."""
    max_age: Duration = 5 * MINUTE
    """An answer older than this is none."""


class Rung(Section):
    """One rung of the fallback ladder: the last good answer, another model, or a constant value."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["last_good"]}, {"required": ["model"]}, {"required": ["value"]}]}
    )

    last_good: LastGood | None = None
    """Answers an identical request as it was answered last; goes on to the next rung where there is no such answer."""

    model: str | None = None
    """A model of the same repository with the same inputs and outputs."""
    value: dict[str, Any] | None = None
    """Output name -> nested list; a first dimension of 1 is repeated for every row of the request."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.model, self.value, self.last_good).count(None) != 2:
            how = "Write - model: NAME, - value: {OUTPUT: [[...]]}, or - last_good: {}"
            raise UnitError("a rung has exactly one of model, value and last_good", how)
        return self


AnomalyMode = Literal["off", "observe", "tag", "fallback", "reject"]


class Anomaly(Section):
    profile: Path | None = Field(default=None, strict=False)
    """The training profile, relative to the folder of the model's version; absent: profile.npz there, if it exists.
    For a model with upstreams relative to the configuration file; absent: none."""
    mode: AnomalyMode = "observe"
    """observe: measured only; tag: told to the client; fallback: answered by the ladder; reject: refused."""
    false_positive_rate: float = Field(default=0.001, gt=0, lt=1)
    """Share of normal rows that may be called anomalous."""
    unscored: Literal["refuse", "allow"] = "refuse"
    """Requests that cannot be scored (inputs in an upstream's shared memory, shapes that the profile was not fitted
    on) in modes fallback and reject. refuse: like anomalous ones; allow: they pass. In other modes all pass."""


class Hedging(Section):
    budget: float = Field(default=0.05, gt=0, le=0.5)
    """Requests that may be sent to a second upstream as well, per request."""


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
    """As the model calls it."""
    datatype: Datatype
    """Of its elements, as the protocol calls it."""
    shape: Annotated[tuple[Annotated[int, Field(ge=-1)], ...], Field(strict=False, max_length=16)]
    """Dimensions, rows first; -1 for one that varies."""


Tensors = Annotated[tuple[Tensor, ...], Field(strict=False, min_length=1, max_length=256)]


class Signature(Section):
    """What a model takes and gives."""

    inputs: Tensors
    """Everything that a request must bring."""
    outputs: Tensors
    """Everything that an answer may hold."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for kind, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [tensor.name for tensor in tensors]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise UnitError(f"two {kind} are called {twice!r}", "Rename or remove one of them")
        return self


class Health(Section):
    """Checks of upstreams: grpc.health.v1 where they have it, else ServerReady."""

    interval: Duration = Field(default=5 * SECOND, ge=SECOND // 10)
    """Between two checks of an upstream, give or take a fifth."""
    timeout: Duration = Field(default=SECOND, gt=0)
    """An answer that takes longer is a failure; two failures in a row take the upstream out, one success back in."""
    startup: Duration = 30 * SECOND
    """How long serve waits at its start for upstreams that must be asked for signatures; models without one then pass
    undecoded."""
    refresh: Duration = Field(default=30 * SECOND, ge=SECOND // 10)
    """Between two questions to upstreams for their models and signatures, give or take a fifth. They are also asked
    when refusals hint at a change, and when a connection comes back."""


class Breaker(Section):
    """What takes an endpoint out although it is connected and its checks succeed, and what brings it back.

    Where fewer than half of a model's connected endpoints are in order, requests go to all of them, as with Envoy's
    panic threshold: the breaker of a model's only endpoint therefore stops no requests.
    """

    consecutive_failures: int = Field(default=5, ge=0, le=LARGEST_BURST)
    """Failures in a row that take it out; 0: any number."""
    success_rate: float = Field(default=0.5, ge=0, le=1)
    """Share of the outcomes within the window that must be good; 0: none."""
    min_requests: int = Field(default=20, ge=1, le=LARGEST_BURST)
    """Outcomes within the window before their share counts."""
    window: Duration = Field(default=10 * SECOND, ge=SECOND // 10)
    """Over which success_rate is taken."""
    ejection: Duration = Field(default=10 * SECOND, ge=SECOND // 1000)
    """How long it is out the first time; each further time so much longer, unless it was in order for as long between
    them. Then one request tries it: its success brings it back."""
    max_ejection: Duration = 5 * MINUTE
    """The longest that it is out."""
    max_inflight: int = Field(default=1024, ge=1, le=LARGEST_BURST)
    """Requests that it has at most; more go elsewhere, or are refused."""

    @model_validator(mode="after")
    def _ejections_grow(self) -> Self:
        if self.max_ejection < self.ejection:
            raise UnitError("max_ejection is shorter than ejection", "Raise max_ejection or lower ejection")
        return self


class Retries(Section):
    """Requests that an upstream has surely not begun go to another one in any case."""

    unanswered: bool = False
    """Also those that it may have begun: where it dies or falls silent before it answers, another one is asked as well.
    For models whose runs change nothing; requests with a sequence_id are never asked twice."""


def _by_number(weights: object) -> object:
    """YAML reads a version's number as a number."""
    return {str(version): weight for version, weight in weights.items()} if isinstance(weights, Mapping) else weights


Weight = Annotated[int, Field(ge=0, le=1_000_000)]


VersionPolicy = Literal["newest", "promoted", "explicit"]


class ModelSettings(Section):
    """Settings of one model. REPOSITORY/NAME/model.yaml takes the same keys; the main file wins key by key."""

    upstreams: Upstreams = ()
    """Servers that run this model: host:port, dns:///name:port, unix:/path. Absent: it is run here."""
    upstream_tls: UpstreamTls | None = None
    """TLS towards this model's upstreams; absent: plain text."""
    hedging: Hedging | None = None
    """Ask a second upstream where the first is slower than in 95 of 100 cases; absent: never."""
    retries: Retries | None = None
    """Which requests a second upstream is asked; absent: those that the first has surely not begun."""
    signature: Signature | None = None
    """Inputs and outputs of a model whose upstreams do not tell them; they are not asked then. Where nobody tells them,
    requests pass undecoded and unscored."""
    deadline: Duration | None = None
    """The longest that an answer may take; absent: the client's own deadline counts."""
    limit: Limit | None = None
    """Of all requests for this model; absent: no limit."""
    admission: Admission = Admission()
    batching: Batching = Batching()
    run_memory: Size = Field(default=1024 * MiB, ge=MiB)
    """The most memory that a run may hold beside its inputs, of a model that runs here. Where inputs are small it is
    less: 16 MiB, 16 KiB for each of their bytes, and for each row twice what the warm-up was seen to hold."""
    fallback: Annotated[tuple[Rung, ...], BeforeValidator(lambda rungs: () if rungs is None else rungs)] = Field(
        default=(), strict=False
    )
    """Rungs, tried in order when the deadline passes, the model fails or the anomaly mode says so."""
    anomaly: Anomaly = Anomaly()
    canary: CanarySettings = CanarySettings()
    versions: Annotated[Mapping[str, Weight], BeforeValidator(_by_number)] | None = Field(default=None, max_length=64)
    """Shares of the requests that name no version: {"1": 90, "2": 10}. A version that is not mentioned has none.
    Absent: version_policy says who answers."""
    version_policy: VersionPolicy | None = None
    """Of this model; absent: the server's."""
    promotion: PromotionSettings = PromotionSettings()
    shadow: Shadows = ()
    """Who else is asked the same and whose answers nobody sees, but compared with the model's; one, or a list."""

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
            raise UnitError("anomaly.mode is fallback and the model has no fallback", "Add a rung, or use mode reject")
        return self


class Config(Section):
    """The configuration of one server, complete: every default filled in."""

    listen: Listen = Listen()
    workers: Annotated[int, BeforeValidator(parse_workers), WORKERS_SCHEMA] = Field(default=1, ge=1, le=MOST_WORKERS)
    """Processes of the data plane, with one listener, one set of limits and of figures; auto: one per core."""
    repository: Path | None = Field(default=None, strict=False)
    """REPOSITORY/NAME/VERSION/model.onnx, or one .onnx file; relative to the configuration file."""
    strict: bool = False
    """Do not start, and change no model at a reload, while any model of the repository cannot be served; false: serve
    the others, and tell which are refused."""
    load_timeout: Duration = Field(default=60 * SECOND, ge=SECOND // 10)
    """The longest that one version of a model may take to be checked, opened and tried; one that takes longer is
    refused. Raise it for large models on slow machines."""
    watch: bool = True
    """Serve what the configuration file and the repository hold now, whenever they change; else only on SIGHUP and
    `modelward reload`."""
    upstreams: Upstreams = ()
    """Servers whose every model is served through, besides the repository's."""
    upstream_tls: UpstreamTls | None = None
    """TLS towards the servers of the key above; models with upstreams of their own have their own."""
    tls: Tls | None = None
    """TLS on listen.grpc; absent: plain text (h2c by prior knowledge)."""
    admin_tls: AdminTls | None = None
    """mTLS on listen.admin; absent: plain text."""
    access: Access | None = None
    """Who may call what; absent: everybody everything."""
    trusted_proxies: TrustedProxies = ()
    """Networks of proxies whose x-forwarded-for counts: the right-most address in it that is not theirs is the peer."""
    health: Health = Health()
    """Of every upstream."""
    breaker: Breaker = Breaker()
    """Of every endpoint of every upstream."""
    passthrough: bool = False
    """Methods that are not known here (shared memory, traces, a repository's) go to `upstreams`, unread but limited."""
    limits: Limits = Limits()
    drain: Drain = Drain()
    log: LogSettings = LogSettings()
    """What is written to stderr. Changed only by a restart."""
    state: Path | None = Field(default=None, strict=False)
    """Folder for what outlives a restart: promotions, samples of shadows, and the key that ties callers to versions.
    Made when the first of these is written: the key at the first start, where access or sticky_header is set. Absent:
    the folder that the service manager gives ($STATE_DIRECTORY), else .modelward in the working folder."""
    version_policy: VersionPolicy = "newest"
    """Which version of a model without `versions:` answers requests that name none. newest: the newest, from its
    arrival on; promoted: the one that did so far, until another is promoted, or the oldest where `state` has no record
    of one that did; explicit: `versions:` must be set."""
    sticky_header: str | None = Field(default=None, pattern=r"^[a-z0-9_.-]{1,64}$")
    """Requests with the same value of this header get the same version of a model whose versions have weights; where it
    does not come, requests of the same identity do."""
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
                "limits.identity.overrides is set and nobody is known", "Set access, or write limits.peer.overrides"
            )
        return self

    @model_validator(mode="after")
    def _shadows_know_callers(self) -> Self:
        for name, settings in self.models.items():
            if self.access is None and any(shadow.only and shadow.only.identity for shadow in settings.shadow):
                raise UnitError(
                    f"a shadow of models.{name} has only.identity and nobody is known", "Set access, or leave it out"
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
