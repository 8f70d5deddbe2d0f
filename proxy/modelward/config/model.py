"""Settings of one model: its backend, its guards, its versions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from modelward.config.approvals import ModelApprovals
from modelward.config.canary import CanarySettings
from modelward.config.capture import Capture
from modelward.config.detection import ModelDetection
from modelward.config.drift import Drift
from modelward.config.fields import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from modelward.config.files import FileKind
from modelward.config.integrity import ModelIntegrity
from modelward.config.objective import Objective
from modelward.config.outputs import Outputs
from modelward.config.promotion import PromotionSettings
from modelward.config.rate_limit import Limit
from modelward.config.remote_model import Hedging, Retries, Signature, check_tls_has_upstreams
from modelward.config.scan import ScanPolicy
from modelward.config.section import Section
from modelward.config.shadow import Shadows
from modelward.config.tls import UpstreamTls
from modelward.config.units import MINUTE, Duration, MiB, Size, UnitError
from modelward.config.upstream import Upstreams

LARGEST_CONCURRENCY = 8192


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


def _listed(fallbacks: object) -> object:
    """Nothing stands for none."""
    return () if fallbacks is None else fallbacks


class Fallback(Section):
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

    profile: Annotated[Path | None, FileKind.OF_VERSION] = Field(default=None, strict=False)
    """File of the training profile, relative to the folder of the model's version. Absent: profile.npz there, if it
    exists. For a model with upstreams: relative to the configuration file; absent: no profile."""
    mode: AnomalyMode = "observe"
    """What happens to a flagged request. `observe`: it is only measured. `tag`: the response says that it is flagged.
    `fallback`: the fallback chain answers. `reject`: it is refused. `off`: nothing is scored."""
    false_positive_rate: float = Field(default=0.001, gt=0, lt=1)
    """Share of normal rows that may be flagged."""
    unscored: Literal["refuse", "allow"] = "refuse"
    """In the modes fallback and reject, and where `detection` acts: what happens to a request that cannot be scored,
    because its inputs are in an upstream's shared memory, or because the profile does not fit its shapes. `refuse`: it
    is treated as flagged. `allow`: it passes. Elsewhere it passes."""


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
    """Which requests are sent to a second upstream. Absent: those that the first has certainly not begun, or answers
    with UNAVAILABLE."""
    signature: Signature | None = None
    """Inputs and outputs of a model whose upstreams do not report them. The upstreams are not asked then. Without any
    signature, requests pass undecoded and unscored."""
    deadline: Duration | None = None
    """Longest time to a response. The client's deadline counts where it is earlier. Absent: only the client's deadline
    counts."""
    objective: Objective = Objective.default()
    limit: Limit | None = None
    """Rate limit of all requests for this model. Absent: no limit."""
    admission: Admission = Admission.default()
    batching: Batching = Batching.default()
    run_memory: Size = Field(default=1024 * MiB, ge=MiB)
    """Most memory that a run of a model that runs here may hold beside its inputs. For small inputs the limit is lower:
    16 MiB, plus 16 KiB for each byte of input, plus for each row twice what the warm-up held."""
    fallback: Annotated[tuple[Fallback, ...], BeforeValidator(_listed)] = Field(default=(), strict=False)
    """Fallback chain. Its fallbacks are tried in order when the deadline passes, the model fails or is overloaded, or
    the anomaly mode is fallback."""
    anomaly: Anomaly = Anomaly.default()
    outputs: Outputs = Field(default_factory=dict)
    """What its outputs are, by their names."""
    detection: ModelDetection = ModelDetection.default()
    canary: CanarySettings = CanarySettings.default()
    capture: Capture | None = None
    """Writes a sample of the requests to Parquet files, for retraining. Absent: none. Not in model.yaml: who may write
    there does not choose what is kept of others' requests. `capture: {}` turns it on."""
    drift: Drift | None = None
    """Tells when inputs or outputs of a version are not what they were. Absent: nothing is watched. `drift: {}` turns
    it on."""
    scan: ScanPolicy | None = None
    """What comes of a scan of this model's files. Absent: the server's `scan`."""
    integrity: ModelIntegrity | None = None
    """Signatures of this model's versions. Not in model.yaml: who may write there is whom it guards against. Absent: as
    `integrity` says."""
    versions: Annotated[Mapping[str, Weight], BeforeValidator(_by_number)] | None = Field(default=None, max_length=64)
    """Shares of the requests that name no version: {"1": 90, "2": 10}. A version that is not mentioned has none.
    Absent: version_policy chooses the version, or the upstreams of the model. Not with `signature`."""
    version_policy: VersionPolicy | None = None
    """Version policy of this model. Absent: the server's."""
    promotion: PromotionSettings = PromotionSettings.default()
    approvals: ModelApprovals | None = None
    """Approvals for this model, in place of the server's. Not in model.yaml."""
    shadow: Shadows = ()
    """Shadows get the same requests as the model. Their answers are compared with the model's, and never reach a
    client. One mapping, or a list."""

    @model_validator(mode="after")
    def _some_version_has_weight(self) -> Self:
        if self.versions is not None and self.signature is not None:
            how = "Upstreams are not asked for versions then, and choose one: leave one of the two out"
            raise UnitError("versions and signature are both set", how)
        if self.versions is not None and not any(self.versions.values()):
            raise UnitError("no version has any weight", "Give the one that is to answer a weight of 1")
        return self

    @model_validator(mode="after")
    def _signature_is_of_upstreams(self) -> Self:
        if self.signature is not None and not self.upstreams:
            raise UnitError("signature is only for models with upstreams", "An ONNX file has its own: leave it out")
        return self

    @model_validator(mode="after")
    def _canary_of_upstreams_is_a_file(self) -> Self:
        if self.upstreams and self.canary.file is None and self.canary != CanarySettings.default():
            raise UnitError(
                "canary.interval is set and the model has upstreams", "Set canary.file too, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _signed_files_are_here(self) -> Self:
        if self.upstreams and self.integrity is not None:
            raise UnitError(
                "integrity is only for models that run here", "The files of this one are elsewhere: leave it out"
            )
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
    def _budgets_count_every_answer(self) -> Self:
        budgeted = [name for name, output in self.outputs.items() if output.budget]
        if budgeted and any(fallback.last_good is not None for fallback in self.fallback):
            what = f"outputs.{budgeted[0]} has a budget, and last_good would give out answers that it does not count"
            raise UnitError(what, "Leave last_good out of the fallback chain, or the budget")
        return self

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        check_tls_has_upstreams(self.upstreams, self.upstream_tls)
        if self.anomaly.mode == "fallback" and not self.fallback:
            raise UnitError(
                "anomaly.mode is fallback and the model has no fallback", "Add a fallback, or use mode reject"
            )
        return self
