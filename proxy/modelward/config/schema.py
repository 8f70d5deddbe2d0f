"""Every key of the configuration, its type, default and meaning. What is not here is an error."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Self

from modelward.config.access import Access
from modelward.config.access_log import AccessLogSettings
from modelward.config.address import OFF
from modelward.config.approvals import Approvals, ApprovedVerb
from modelward.config.audit import Audit
from modelward.config.capture import Capture
from modelward.config.detection import MOST_PATTERNS, Detection
from modelward.config.drain import Drain
from modelward.config.drift import Drift
from modelward.config.fields import BeforeValidator, Field, PrivateAttr, model_validator
from modelward.config.fleet import Fleet
from modelward.config.health import Breaker, Health
from modelward.config.integrity import Integrity, ModelTrust
from modelward.config.limits import Limits
from modelward.config.listen import Listen
from modelward.config.log import LogSettings
from modelward.config.metrics import Metrics
from modelward.config.model import ModelSettings, VersionPolicy
from modelward.config.observations import Observations
from modelward.config.operators import Operators, check_reach
from modelward.config.proxies import TrustedProxies
from modelward.config.remote_model import check_tls_has_upstreams
from modelward.config.scan import ScanPolicy
from modelward.config.sealing import Sealing, Secret
from modelward.config.section import Section
from modelward.config.tls import AdminTls, Tls, UpstreamTls
from modelward.config.units import SECOND, Duration, UnitError
from modelward.config.upstream import Upstreams
from modelward.config.workers import MOST_WORKERS, WORKERS_SCHEMA, parse_workers
from modelward.model_names import fault_of_name
from modelward.problem import Problem


class Config(Section):
    """The configuration of one server."""

    listen: Listen = Listen.default()
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
    scan: ScanPolicy = "warn"
    """What comes of a scan of the files of each version before it is opened. `warn`: what is critical or high is told
    in the log and by `check`. `refuse`: the version is refused from a severity on. `off`: nothing is scanned."""
    watch: bool = True
    """true: follow every change of the configuration file, of the files that it names, and of the repository. false:
    reload only on SIGHUP and `modelward reload`; certificates and keys are followed all the same."""
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
    operators: Operators | None = None
    """Who may operate the server, over listen.admin. Absent: each client that can connect may do everything."""
    audit: Annotated[Audit | None, BeforeValidator(lambda audit: {} if audit is None else audit)] = None
    """Records what operators ask for and what the server decides. Absent: it is recorded where `operators` is set.
    `audit: {}` turns it on. A change needs a restart."""
    integrity: Integrity | None = None
    """Signatures of model files. Absent: they are not read."""
    approvals: Approvals | None = None
    """How many others must approve what an operator asks for. Absent: nobody needs to."""
    metrics: Metrics = Metrics()
    trusted_proxies: TrustedProxies = ()
    """Networks of proxies whose x-forwarded-for is believed. The peer is the right-most address in it that is not
    theirs. `unix:` stands for every client of a Unix socket."""
    sealing: Sealing | None = None
    """Keys of sealed versions. Absent: a version whose files are sealed is refused."""
    health: Health = Health.default()
    """Health checks of upstreams."""
    breaker: Breaker = Breaker.default()
    """Circuit breaker of each endpoint of each upstream."""
    passthrough: bool = False
    """true: methods that Modelward does not know (shared memory, traces, model repository) go to `upstreams`. Limits
    apply to them, but nothing reads them."""
    limits: Limits = Limits.default()
    detection: Detection = Detection.default()
    """Memory of `models.NAME.detection`. A change needs a restart."""
    drain: Drain = Drain.default()
    access_log: AccessLogSettings | None = None
    """A sample of the inference requests, one line each. Absent: none. A change needs a restart."""
    observations: Observations = Observations.default()
    """The memory through which capture and drift see requests. A change needs a restart."""
    log: LogSettings = LogSettings.default()
    """What is written to stderr. A change needs a restart."""
    state: Path | None = Field(default=None, strict=False)
    """Folder for data that outlives a restart: promotions, samples of shadows, and the key that ties callers to
    versions. It is made when the first of these is written. The key is written at the first start with access or
    sticky_header. Absent: the folder that the service manager gives ($STATE_DIRECTORY), otherwise .modelward in the
    working folder. Not in a file whose changes need approvals: give it by --set state= or $STATE_DIRECTORY there."""
    fleet: Fleet | None = None
    """Shares promotions with other servers. Absent: this server decides alone, and keeps what it decides in `state`. A
    change needs a restart."""
    version_policy: VersionPolicy = "newest"
    """Which version of a model without `versions` answers requests that name none. `newest`: the newest, as soon as it
    arrives. `promoted`: the one that did so far, until another is promoted; where `state` has no record of one, the
    oldest. Where that one cannot be served, the next older answers, else none. `explicit`: `versions` must be set."""
    sticky_header: str | None = Field(default=None, pattern=r"^[a-z0-9_.-]{1,64}$")
    """Requests with the same value of this header get the same version, where several versions have a share. Without
    the header, requests of the same identity do."""
    models: Annotated[Mapping[str, ModelSettings], BeforeValidator(lambda models: {} if models is None else models)] = (
        Field(default_factory=dict)
    )
    """Settings by model name."""

    @model_validator(mode="after")
    def check_tls_has_upstreams(self) -> Self:
        check_tls_has_upstreams(self.upstreams, self.upstream_tls)
        return self

    @model_validator(mode="after")
    def _names_can_be_models(self) -> Self:
        for name in self.models:
            if fault := fault_of_name(name):
                raise UnitError(f"models: {fault[0]}: {fault[1]}", "Rename the model")
        return self

    @model_validator(mode="after")
    def _signers_are_trusted(self) -> Self:
        for name, settings in self.models.items():
            if settings.integrity is not None and self.integrity is None:
                how = "Set integrity with keys, certificates or sigstore, or leave it out"
                raise UnitError(f"models.{name}.integrity is set and no signer is trusted", how)
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
    def _files_of_canaries_are_of_upstreams(self) -> Self:
        for name, settings in self.models.items():
            if settings.canary.file is not None and not (settings.upstreams or self.upstreams):
                raise UnitError(
                    f"models.{name}.canary.file is set and there are no upstreams",
                    "Put canary.npz beside the model, and leave it out",
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
        has_tokens = self.operators is not None and self.operators.tokens
        if self.admin_tls is not None and self.admin_tls.client_ca is None and not has_tokens:
            raise UnitError(
                "admin_tls has no client_ca, and nothing else proves who calls",
                "Set admin_tls.client_ca to the authority of operators' certificates, or operators.tokens",
            )
        if self.admin_tls is not None and (admin is None or admin.is_unix):
            raise UnitError(
                f"admin_tls is set and listen.admin is {admin or OFF}", "Leave it out, or listen on an address"
            )
        return self

    @model_validator(mode="after")
    def _operators_can_be_told(self) -> Self:
        if self.operators is not None:
            asked = self.admin_tls is not None and self.admin_tls.client_ca is not None
            check_reach(self.operators, self.listen.admin, certificates=asked)
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
    def _watched_identities_are_known(self) -> Self:
        patterns = {
            (name, each.by) for settings in self.models.values() for name, each in settings.detection.identities.items()
        }
        if patterns and self.access is None:
            raise UnitError(
                "detection.identities of a model is set and no caller has an identity", "Set access, or leave it out"
            )
        if len(patterns) > MOST_PATTERNS:
            raise UnitError(
                f"the models have {len(patterns)} patterns in detection.identities",
                f"Write at most {MOST_PATTERNS}: the same pattern counts once for all models",
            )
        return self

    @model_validator(mode="after")
    def _approvers_are_known(self) -> Self:
        if self.approvals is not None and self.operators is None:
            raise UnitError(
                "approvals is set and no operator has a name", "Set operators, so that one is told from another"
            )
        for name, settings in self.models.items():
            if settings.approvals is not None and self.approvals is None:
                raise UnitError(
                    f"models.{name}.approvals is set and approvals is not", "Set approvals: {} too, or leave it out"
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

    @property
    def audited(self) -> Audit | None:
        """`audit`, or its defaults where there are `operators`; None where nothing is recorded."""
        return Audit.default() if self.audit is None and self.operators is not None else self.audit

    @property
    def captured(self) -> Mapping[str, Capture]:
        """By model."""
        return {name: settings.capture for name, settings in self.models.items() if settings.capture is not None}

    @property
    def watched(self) -> Mapping[str, Drift]:
        """By model, where drift is watched."""
        return {name: settings.drift for name, settings in self.models.items() if settings.drift is not None}

    def upstream_tls_of(self, name: str) -> UpstreamTls | None:
        """TLS towards the upstreams of a model, its own or the server's; None for plain text."""
        settings = self.settings(name)
        return settings.upstream_tls if settings.upstreams else self.upstream_tls

    def policy(self, name: str) -> VersionPolicy:
        """Of a model, its own or the server's. Where promotions need approvals, no version answers by being new."""
        written = self.settings(name).version_policy or self.version_policy
        return "promoted" if self.newest_is_promoted(name) else written

    def newest_is_promoted(self, name: str) -> bool:
        """Whether a model's version_policy is `newest`, and acts as `promoted` since promotions need approvals."""
        written = self.settings(name).version_policy or self.version_policy
        return written == "newest" and self.approvers("promote", name) > 0

    def approvers(self, verb: ApprovedVerb, name: str = "") -> int:
        """How many operators other than the one who asks must approve. name: of the model; empty for the server."""
        if self.approvals is None:
            return 0
        own = getattr(self.settings(name).approvals, verb, None) if name else None
        count: int = getattr(self.approvals, verb) if own is None else own
        return max(count, self.approvers("promote", name)) if verb == "force" else count

    def scan_of(self, name: str) -> ScanPolicy:
        """Of a model, its own or the server's."""
        return self.settings(name).scan or self.scan

    def trust(self, name: str) -> ModelTrust:
        """What a model asks of its signatures."""
        return ModelTrust.of(name, self.integrity, self.settings(name).integrity)

    def settings(self, name: str) -> ModelSettings:
        """The settings of a model, the defaults where it has none."""
        return self.models.get(name) or ModelSettings.default()

    # models whose own model.yaml cannot be used, and why; they are refused
    _unusable: dict[str, tuple[Problem, ...]] = PrivateAttr(default_factory=dict)
    # what the configuration says of models and the repository does not allow: nothing of the models changes
    _unfitting: tuple[Problem, ...] = PrivateAttr(default=())

    # what sealing.identities gave; None where they were not read (modelward.sealing.keyring)
    _secrets: tuple[Secret, ...] | None = PrivateAttr(default=None)

    @property
    def secrets(self) -> tuple[Secret, ...] | None:
        return self._secrets

    def with_secrets(self, secrets: tuple[Secret, ...]) -> Self:
        """The same, with what its identities gave."""
        config = self.model_copy()
        config._secrets = secrets
        return config

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
