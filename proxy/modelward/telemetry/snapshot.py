"""The data plane's counters at one moment, as plain data: native_snapshot fills it, the collector reads it.

Everything counts up from the start of the process, except the gauges named so. Keys that become label values come from
closed sets (configured models, gRPC codes, refusal reasons, stages): a client's text is never a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelward.telemetry.kinds import END, FLAG, GAUGE, GAUGES, MOST, SAME
from modelward.telemetry.objectives import ObjectiveSnapshot
from modelward.telemetry.statistics import Statistics

# Stands for every model name that is not served, so that strangers cannot mint time series.
OTHER_MODEL = "_other"


@dataclass(frozen=True, slots=True)
class Histogram:
    """`cumulative[i]` observations were <= `bounds[i]`; one more element than bounds, the last of which counts all.

    Bounds ascend and are finite. `sum` is of all observations, in the unit of the bounds.
    """

    bounds: tuple[float, ...]
    cumulative: tuple[int, ...]
    sum: float

    def __post_init__(self) -> None:
        if len(self.cumulative) != len(self.bounds) + 1:
            raise ValueError(f"{len(self.cumulative)} counts for {len(self.bounds)} bounds and infinity")


@dataclass(frozen=True, slots=True)
class CanarySnapshot:
    """Of one version, the run when it was loaded counted with the others."""

    passed: int = 0
    failed: int = 0
    failing: int = field(default=0, metadata=GAUGE)  # workers in which the last run failed


@dataclass(frozen=True, slots=True)
class VersionSnapshot:
    """One version of a model. Requests that ended before a version was chosen are counted under version ""."""

    requests: Mapping[str, int] = field(default_factory=dict)  # by gRPC code name
    seconds: Mapping[str, Histogram] = field(default_factory=dict)  # entry to trailers, by outcome
    statistics: Statistics | None = None  # absent where nothing can be executed: _other, version ""
    pending: int = field(default=0, metadata=GAUGE)  # queued, not yet in an execution
    waiting: int = field(default=0, metadata=GAUGE)  # for a place with the backend
    concurrency: int = field(default=0, metadata=GAUGE)  # places with the backend; 0 before any was given back
    canary: CanarySnapshot | None = None  # absent where none was ever run


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    versions: Mapping[str, VersionSnapshot] = field(default_factory=dict)
    refusals: Mapping[str, int] = field(default_factory=dict)  # by reason
    stages: Mapping[str, Histogram] = field(default_factory=dict)  # seconds, by stage
    anomaly_score: Histogram | None = None  # absent without a profile
    anomalies: int = 0
    restricted: Mapping[str, int] = field(default_factory=dict)  # requests of callers at a step, by step
    observed: Mapping[str, int] = field(default_factory=dict)  # of those that would be at one, where a model observes
    withheld: Mapping[str, int] = field(default_factory=dict)  # answers, by what callers at a milder step got instead
    steps: Mapping[tuple[str, str], int] = field(default_factory=dict)  # that identities came to, by step and signal
    unscored: int = 0  # that could not be scored, although there is a profile
    partly_scored: int = 0  # with more rows than are scored
    unwatched: int = 0  # whose rows were no evidence, for lack of memory
    fallbacks: Mapping[str, int] = field(default_factory=dict)  # by reason
    batch_rows: Histogram | None = None
    late_results: int = 0
    predicted_seconds: float = 0  # of backend time, by requests that were charged it and ran
    taken_seconds: float = 0  # by the same
    undecoded: int = field(default=0, metadata=FLAG)  # 1 where requests pass undecoded and unscored


@dataclass(frozen=True, slots=True)
class EndpointSnapshot:
    """All endpoints behind one configured address: several where its name resolves to several."""

    requests: int = 0
    failures: int = 0
    ejections: int = 0
    seconds: Histogram | None = None  # of answers
    inflight: int = field(default=0, metadata=GAUGE)
    messages: int = field(default=0, metadata=GAUGE)
    connected: int = field(default=0, metadata=GAUGE)  # endpoints with a connection
    available: int = field(default=0, metadata=GAUGE)  # of these, those that are sent requests
    breaker: Mapping[str, int] = field(default_factory=dict, metadata=GAUGES)  # endpoints by their breaker's state
    silences: int = 0
    retries: int = 0
    hedges: int = 0
    unconnected: int = 0  # attempts to connect that failed
    fails_canary: int = field(default=0, metadata=GAUGE)  # connected endpoints that fail the canary of a model


@dataclass(frozen=True, slots=True)
class ShadowSnapshot:
    """One shadow of one version of a model. Keys are those of modelward_native.shadow.stats.Sums."""

    pairs: Mapping[str, int] = field(default_factory=dict)  # by how they ended
    disagreement: float = 0  # sum over compared pairs, 0 to 1 each
    disagreeing: int = 0  # pairs
    mismatches: Mapping[str, int] = field(default_factory=dict)  # by kind
    dropped: Mapping[str, int] = field(default_factory=dict)  # by reason
    seconds: Mapping[str, Histogram] = field(default_factory=dict)  # by side
    verdict: Mapping[str, int] = field(default_factory=dict, metadata=GAUGES)  # 1 for the one that it is


@dataclass(frozen=True, slots=True)
class TlsSnapshot:
    """Of the listener."""

    not_after: float = field(metadata=END)  # seconds since 1970; the certificate's end
    reloads: int = 0
    failed_reloads: int = 0
    failed_handshakes: int = 0


@dataclass(frozen=True, slots=True)
class KeySetSnapshot:
    """Of a token issuer's URL."""

    had: float = field(metadata=END)  # seconds since 1970; when it gave its keys, 0 for never
    failures: int = 0
    changes: int = 0  # other keys than before


@dataclass(frozen=True, slots=True)
class AccessSnapshot:
    """Credentials of callers. hits: known already; misses: checked; refused: of those; known_bad: refused unchecked."""

    hits: int = 0
    misses: int = 0
    refused: int = 0
    known_bad: int = 0
    cached: int = field(default=0, metadata=GAUGE)
    identities: int = field(default=0, metadata=GAUGE)
    failed_reloads: int = 0  # of files of keys
    key_set: KeySetSnapshot | None = None  # absent without a URL


@dataclass(frozen=True, slots=True)
class WorkersSnapshot:
    """The processes of the data plane, where a supervisor keeps them."""

    ready: int = field(default=0, metadata=GAUGE)
    restarts: Mapping[str, int] = field(default_factory=dict)  # by reason


@dataclass(frozen=True, slots=True)
class CloseReasonSnapshot:
    """Connections of the gRPC listener that were refused or closed, by reason (of wire.close_reason)."""

    refused: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReloadSnapshot:
    applied: int = 0
    refused: int = 0
    failing: int = field(default=0, metadata=FLAG)  # 1 while the last reload was refused as a whole
    partial: int = 0  # applied, but for models that were refused


@dataclass(frozen=True, slots=True)
class LimitsSnapshot:
    """The table of what peers and identities owe."""

    cells: int = field(default=0, metadata=GAUGE)  # that owe
    capacity: int = field(default=0, metadata=GAUGE)


@dataclass(frozen=True, slots=True)
class SharedSnapshot:
    """Limits that several servers hold together through a store."""

    up: int = field(default=0, metadata=GAUGE)  # 1 while the store answers
    syncs: Mapping[str, int] = field(default_factory=dict)  # by result
    seconds: Histogram | None = None  # of round trips
    cells: int = field(default=0, metadata=GAUGE)  # of the last round
    unbooked: int = 0


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """Promotions that several servers share through a store. malformed: records and evidence in it that are none. held:
    models whose promotion this server does not follow. name_taken: 1 while another server has the same name."""

    up: int = field(default=0, metadata=GAUGE)  # 1 while the store answers
    leads: int = field(default=0, metadata=GAUGE)
    exchanges: Mapping[str, int] = field(default_factory=dict)  # by result
    malformed: int = 0
    held: int = field(default=0, metadata=GAUGE)
    name_taken: int = field(default=0, metadata=GAUGE)


@dataclass(frozen=True, slots=True)
class ScrapeSnapshot:
    """Pages of metrics, those before this one."""

    made: int = 0
    reused: int = 0  # scrapes that got a page made for another
    seconds: float = 0  # that making them took
    size: int = field(default=0, metadata=GAUGE)  # bytes of the largest of the last ones


@dataclass(frozen=True, slots=True)
class IdentitySnapshot:
    """Of one that the configuration names. requests, seconds (of backend time): estimates from a sample."""

    requests: int = 0
    seconds: float = 0
    refused: Mapping[str, int] = field(default_factory=dict)  # by limit
    denied: int = 0
    anomalous: int = 0


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """What outlives a restart."""

    unsaved: int = field(default=0, metadata=FLAG)  # 1 while what was done last is not on disk
    failures: int = 0  # writes


@dataclass(frozen=True, slots=True)
class DetectionSnapshot:
    """Identities that models watch."""

    identities: Mapping[str, int] = field(default_factory=dict, metadata=GAUGES)  # that are remembered, by step
    evicted: int = 0  # records that were given to another identity
    lost: int = 0  # steps that are counted, and were not told one by one in log and trail
    restrictions: int = field(default=0, metadata=GAUGE)  # of operators
    learning: Mapping[str, tuple[str, int, int, int, int]] = field(default_factory=dict, metadata=GAUGES)
    # by model: phase, rows of it so far, with how many it ends, locked cells, identities of a common fault


@dataclass(frozen=True, slots=True)
class ApprovalsSnapshot:
    """Proposals."""

    open: int = field(default=0, metadata=FLAG)
    unreviewed: int = field(default=0, metadata=FLAG)  # what was done by breaking the glass
    failures: int = 0  # writes


@dataclass(frozen=True, slots=True)
class OperatorsSnapshot:
    """Calls of the admin API."""

    denied: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by verb and cause
    key_set_failures: int = 0  # files and downloads that gave no keys


@dataclass(frozen=True, slots=True)
class IntegritySnapshot:
    """Files of the versions that are served here."""

    # (digest, signer) by model and version
    versions: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict, metadata=SAME)
    unverified: int = field(default=0, metadata=GAUGE)  # of these, whose signature is asked for and does not count
    changed: int = field(default=0, metadata=GAUGE)  # of these, whose files on disk are others now
    checks: Mapping[str, int] = field(default_factory=dict)  # comparisons with the disk, by result


@dataclass(frozen=True, slots=True)
class AuditSnapshot:
    """The audit trail."""

    records: int = 0  # written since the start
    lost: int = 0  # that found no room in line
    failures: Mapping[str, int] = field(default_factory=dict)  # writes, by what was to be written
    waiting: int = field(default=0, metadata=GAUGE)
    up: int = field(default=0, metadata=GAUGE)  # 1 while it can be written
    checkpoint_age: float = field(default=0, metadata=GAUGE)  # seconds
    size: int = field(default=0, metadata=GAUGE)  # records of the log
    witnessed: Mapping[str, int] = field(default_factory=dict, metadata=GAUGES)  # records that each witness has seen
    witness_failures: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by witness, and failed or refused


@dataclass(frozen=True, slots=True)
class AccessLogSnapshot:
    """Requests that were chosen for it: written, and lost since there was no room (full) or a write failed."""

    written: int = 0
    full: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ObservationSnapshot:
    """Requests that were chosen to be looked at: kept, dropped without room, kept without tensors that were too large;
    records that cannot be read; batches that a consumer failed on."""

    kept: int = 0
    dropped: int = 0
    cut: int = 0
    torn: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class CaptureSnapshot:
    """Captured rows by model and part, rows that are lost by model and reason; by model files, their bytes, and files
    that retention has removed."""

    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    dropped: Mapping[tuple[str, str], int] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DriftSnapshot:
    """Of one version. By side, `inputs`, `outputs` and `training`: whether it has changed, evidence for that as a part
    of what raises an alarm, rows that were judged, alarms that were raised. left_out: rows that were not judged."""

    moved: Mapping[str, bool] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    alarms: Mapping[str, int] = field(default_factory=dict)
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    build: Mapping[str, str] = field(default_factory=dict, metadata=SAME)  # versions, by what they are of
    models: Mapping[str, ModelSnapshot] = field(default_factory=dict)  # by name; strangers under OTHER_MODEL
    inflight: int = field(default=0, metadata=GAUGE)
    inflight_bytes: int = field(default=0, metadata=GAUGE)
    connections: int = field(default=0, metadata=GAUGE)
    workers: WorkersSnapshot | None = None
    utilization: Mapping[str, float] = field(default_factory=dict, metadata=GAUGES)  # shares, by resource
    loop_busy: float = field(default=0, metadata=GAUGE)  # share of the loops' time
    limits: LimitsSnapshot | None = None
    shared: SharedSnapshot | None = None
    fleet: FleetSnapshot | None = None  # absent where the server is alone
    close_reasons: CloseReasonSnapshot = field(default_factory=CloseReasonSnapshot)
    reloads: ReloadSnapshot | None = None
    refused: int = field(default=0, metadata=FLAG)  # versions of models that cannot be served, in the worker with most
    # findings of scans in versions that are served, by severity; empty without scans
    scan_findings: Mapping[str, int] = field(default_factory=dict, metadata=MOST)
    # of the requests that name no version, 0 to 1, by model and version
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict, metadata=GAUGES)
    # that have ended, by model, outcome ("done", "rolled_back") and reason
    promotions: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    # seconds since 1970 of the last promotion that the server itself has taken back, by model
    rolled_back: Mapping[str, float] = field(default_factory=dict, metadata=GAUGES)
    objectives: Mapping[str, ObjectiveSnapshot] = field(default_factory=dict, metadata=SAME)  # by model
    identities: Mapping[str, IdentitySnapshot] = field(default_factory=dict)
    # deaths of workers in runs, and shapes of inputs that are not run any more, by model and version
    crashes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    contained: Mapping[tuple[str, str], int] = field(default_factory=dict, metadata=GAUGES)
    watch_failures: int = 0  # of configuration and repository: changes that were not followed
    access_log: AccessLogSnapshot | None = None
    observations: ObservationSnapshot | None = None
    capture: CaptureSnapshot | None = None
    drift: Mapping[tuple[str, str], DriftSnapshot] = field(default_factory=dict)  # by model and version
    samples_lost: int = 0  # of shadows that disagree, which could not be written
    deaths: Mapping[str, int] = field(default_factory=dict)  # of workers, by cause
    state: StateSnapshot | None = None
    audit: AuditSnapshot | None = None
    approvals: ApprovalsSnapshot | None = None
    detection: DetectionSnapshot | None = None  # absent where no model watches identities
    integrity: IntegritySnapshot | None = None
    tls: TlsSnapshot | None = None
    access: AccessSnapshot | None = None
    operators: OperatorsSnapshot | None = None  # absent without an admin API
    scrapes: ScrapeSnapshot | None = None
    endpoints: Mapping[str, EndpointSnapshot] = field(default_factory=dict)  # by address as configured
    panics: Mapping[str, int] = field(default_factory=dict, metadata=GAUGES)  # workers with a pool in panic, by model
    # breakers that operators hold, by model, endpoint and state
    breaker_overrides: Mapping[tuple[str, str, str], int] = field(default_factory=dict, metadata=GAUGES)
    upstream_changes: Mapping[str, int] = field(default_factory=dict)  # by kind
    upstream_refreshes: Mapping[str, int] = field(default_factory=dict)  # by result
    # answers by model and output, then by guard and action
    output_violations: Mapping[tuple[str, str], Mapping[tuple[str, str], int]] = field(default_factory=dict)
    # by model and output: of the budget that is used most
    output_budgets: Mapping[tuple[str, str], float] = field(default_factory=dict, metadata=GAUGES)
    shadows: Mapping[tuple[str, str, str], ShadowSnapshot] = field(default_factory=dict)  # by model, version and name
