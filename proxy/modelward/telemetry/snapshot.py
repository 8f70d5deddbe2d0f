"""The data plane's counters at one moment, as plain data: native_snapshot fills it, the collector reads it.

Everything counts up from the start of the process, except the gauges named so. Keys that become label values come from
closed sets (configured models, gRPC codes, refusal reasons, stages): a client's text is never a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Struct, field

from modelward.telemetry.kinds import END, FLAG, GAUGE, GAUGES, MOST, SAME
from modelward.telemetry.objectives import ObjectiveSnapshot
from modelward.telemetry.statistics import Statistics

# Stands for every model name that is not served, so that strangers cannot mint time series.
OTHER_MODEL = "_other"


class Histogram(Struct, frozen=True):
    """`cumulative[i]` observations were <= `bounds[i]`; one more element than bounds, the last of which counts all.

    Bounds ascend and are finite. `sum` is of all observations, in the unit of the bounds.
    """

    bounds: tuple[float, ...]
    cumulative: tuple[int, ...]
    sum: float

    def __post_init__(self) -> None:
        if len(self.cumulative) != len(self.bounds) + 1:
            raise ValueError(f"{len(self.cumulative)} counts for {len(self.bounds)} bounds and infinity")


class CanarySnapshot(Struct, frozen=True):
    """Of one version, the run when it was loaded counted with the others."""

    passed: int = 0
    failed: int = 0
    failing: Annotated[int, GAUGE] = 0  # workers in which the last run failed


class VersionSnapshot(Struct, frozen=True):
    """One version of a model. Requests that ended before a version was chosen are counted under version ""."""

    requests: Mapping[str, int] = field(default_factory=dict)  # by gRPC code name
    seconds: Mapping[str, Histogram] = field(default_factory=dict)  # entry to trailers, by outcome
    statistics: Statistics | None = None  # absent where nothing can be executed: _other, version ""
    pending: Annotated[int, GAUGE] = 0  # queued, not yet in an execution
    waiting: Annotated[int, GAUGE] = 0  # for a place with the backend
    concurrency: Annotated[int, GAUGE] = 0  # places with the backend; 0 before any was given back
    canary: CanarySnapshot | None = None  # absent where none was ever run


class ModelSnapshot(Struct, frozen=True):
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
    undecoded: Annotated[int, FLAG] = 0  # 1 where requests pass undecoded and unscored


class EndpointSnapshot(Struct, frozen=True):
    """All endpoints behind one configured address: several where its name resolves to several."""

    requests: int = 0
    failures: int = 0
    ejections: int = 0
    seconds: Histogram | None = None  # of answers
    inflight: Annotated[int, GAUGE] = 0
    messages: Annotated[int, GAUGE] = 0
    connected: Annotated[int, GAUGE] = 0  # endpoints with a connection
    available: Annotated[int, GAUGE] = 0  # of these, those that are sent requests
    breaker: Annotated[Mapping[str, int], GAUGES] = field(default_factory=dict)  # endpoints by their breaker's state
    silences: int = 0
    retries: int = 0
    hedges: int = 0
    unconnected: int = 0  # attempts to connect that failed
    fails_canary: Annotated[int, GAUGE] = 0  # connected endpoints that fail the canary of a model


class ShadowSnapshot(Struct, frozen=True):
    """One shadow of one version of a model. Keys are those of modelward_native.shadow.stats.Sums."""

    pairs: Mapping[str, int] = field(default_factory=dict)  # by how they ended
    disagreement: float = 0  # sum over compared pairs, 0 to 1 each
    disagreeing: int = 0  # pairs
    mismatches: Mapping[str, int] = field(default_factory=dict)  # by kind
    dropped: Mapping[str, int] = field(default_factory=dict)  # by reason
    seconds: Mapping[str, Histogram] = field(default_factory=dict)  # by side
    verdict: Annotated[Mapping[str, int], GAUGES] = field(default_factory=dict)  # 1 for the one that it is


class TlsSnapshot(Struct, frozen=True):
    """Of the listener."""

    not_after: Annotated[float, END]  # seconds since 1970; the certificate's end
    reloads: int = 0
    failed_reloads: int = 0
    failed_handshakes: int = 0  # with those that were none: the client said nothing
    unfinished: int = 0  # handshakes that a hello began and that failed, or are under way


class KeySetSnapshot(Struct, frozen=True):
    """Of a token issuer's URL."""

    had: Annotated[float, END]  # seconds since 1970; when it gave its keys, 0 for never
    failures: int = 0
    changes: int = 0  # other keys than before


class AccessSnapshot(Struct, frozen=True):
    """Credentials of callers. hits: known already; misses: checked; refused: of those; known_bad: refused unchecked."""

    hits: int = 0
    misses: int = 0
    refused: int = 0
    known_bad: int = 0
    cached: Annotated[int, GAUGE] = 0
    identities: Annotated[int, GAUGE] = 0
    failed_reloads: int = 0  # of files of keys
    key_set: KeySetSnapshot | None = None  # absent without a URL


class WorkersSnapshot(Struct, frozen=True):
    """The processes of the data plane, where a supervisor keeps them."""

    ready: Annotated[int, GAUGE] = 0
    restarts: Mapping[str, int] = field(default_factory=dict)  # by reason


class CloseReasonSnapshot(Struct, frozen=True):
    """Connections of the gRPC listener that were refused or closed, by reason (of wire.close_reason)."""

    refused: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[str, int] = field(default_factory=dict)


class ReloadSnapshot(Struct, frozen=True):
    applied: int = 0
    refused: int = 0
    failing: Annotated[int, FLAG] = 0  # 1 while the last reload was refused as a whole
    partial: int = 0  # applied, but for models that were refused


class LimitsSnapshot(Struct, frozen=True):
    """The table of what peers and identities owe."""

    cells: Annotated[int, GAUGE] = 0  # that owe
    capacity: Annotated[int, GAUGE] = 0


class SharedSnapshot(Struct, frozen=True):
    """Limits that several servers hold together through a store."""

    up: Annotated[int, GAUGE] = 0  # 1 while the store answers
    syncs: Mapping[str, int] = field(default_factory=dict)  # by result
    seconds: Histogram | None = None  # of round trips
    cells: Annotated[int, GAUGE] = 0  # of the last round
    unbooked: int = 0


class FleetSnapshot(Struct, frozen=True):
    """Promotions that several servers share through a store. malformed: records and evidence in it that are none. held:
    models whose promotion this server does not follow. name_taken: 1 while another server has the same name."""

    up: Annotated[int, GAUGE] = 0  # 1 while the store answers
    leads: Annotated[int, GAUGE] = 0
    exchanges: Mapping[str, int] = field(default_factory=dict)  # by result
    malformed: int = 0
    held: Annotated[int, GAUGE] = 0
    name_taken: Annotated[int, GAUGE] = 0


class ScrapeSnapshot(Struct, frozen=True):
    """Pages of metrics, those before this one."""

    made: int = 0
    reused: int = 0  # scrapes that got a page made for another
    seconds: float = 0  # that making them took
    size: Annotated[int, GAUGE] = 0  # bytes of the largest of the last ones


class IdentitySnapshot(Struct, frozen=True):
    """Of one that the configuration names. requests, seconds (of backend time): estimates from a sample."""

    requests: int = 0
    seconds: float = 0
    refused: Mapping[str, int] = field(default_factory=dict)  # by limit
    denied: int = 0
    anomalous: int = 0


class StateSnapshot(Struct, frozen=True):
    """What outlives a restart."""

    unsaved: Annotated[int, FLAG] = 0  # 1 while what was done last is not on disk
    failures: int = 0  # writes


class DetectionSnapshot(Struct, frozen=True):
    """Identities that models watch."""

    identities: Annotated[Mapping[str, int], GAUGES] = field(default_factory=dict)  # that are remembered, by step
    evicted: int = 0  # records that were given to another identity
    lost: int = 0  # steps that are counted, and were not told one by one in log and trail
    restrictions: Annotated[int, GAUGE] = 0  # of operators
    learning: Annotated[Mapping[str, tuple[str, int, int, int, int]], GAUGES] = field(default_factory=dict)
    # by model: phase, rows of it so far, with how many it ends, locked cells, identities of a common fault


class ApprovalsSnapshot(Struct, frozen=True):
    """Proposals."""

    open: Annotated[int, FLAG] = 0
    unreviewed: Annotated[int, FLAG] = 0  # what was done by breaking the glass
    failures: int = 0  # writes


class OperatorsSnapshot(Struct, frozen=True):
    """Calls of the admin API."""

    denied: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by verb and cause
    key_set_failures: int = 0  # files and downloads that gave no keys


class IntegritySnapshot(Struct, frozen=True):
    """Files of the versions that are served here."""

    # (digest, signer) by model and version
    versions: Annotated[Mapping[tuple[str, str], tuple[str, str]], SAME] = field(default_factory=dict)
    unverified: Annotated[int, GAUGE] = 0  # of these, whose signature is asked for and does not count
    changed: Annotated[int, GAUGE] = 0  # of these, whose files on disk are others now
    checks: Mapping[str, int] = field(default_factory=dict)  # comparisons with the disk, by result


class AuditSnapshot(Struct, frozen=True):
    """The audit trail."""

    records: int = 0  # written since the start
    lost: int = 0  # that found no room in line
    failures: Mapping[str, int] = field(default_factory=dict)  # writes, by what was to be written
    waiting: Annotated[int, GAUGE] = 0
    up: Annotated[int, GAUGE] = 0  # 1 while it can be written
    checkpoint_age: Annotated[float, GAUGE] = 0  # seconds
    size: Annotated[int, GAUGE] = 0  # records of the log
    witnessed: Annotated[Mapping[str, int], GAUGES] = field(default_factory=dict)  # records that each witness has seen
    witness_failures: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by witness, and failed or refused


class AccessLogSnapshot(Struct, frozen=True):
    """Requests that were chosen for it: written, and lost since there was no room (full) or a write failed."""

    written: int = 0
    full: int = 0
    failed: int = 0


class ObservationSnapshot(Struct, frozen=True):
    """Requests that were chosen to be looked at: kept, dropped without room, kept without tensors that were too large;
    records that cannot be read; batches that a consumer failed on."""

    kept: int = 0
    dropped: int = 0
    cut: int = 0
    torn: int = 0
    failures: int = 0


class CaptureSnapshot(Struct, frozen=True):
    """Captured rows by model and part, rows that are lost by model and reason; by model files, their bytes, and files
    that retention has removed."""

    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    dropped: Mapping[tuple[str, str], int] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)


class DriftSnapshot(Struct, frozen=True):
    """Of one version. By side, `inputs`, `outputs` and `training`: whether it has changed, evidence for that as a part
    of what raises an alarm, rows that were judged, alarms that were raised. left_out: rows that were not judged."""

    moved: Mapping[str, bool] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    alarms: Mapping[str, int] = field(default_factory=dict)
    left_out: int = 0


class Snapshot(Struct, frozen=True):
    build: Annotated[Mapping[str, str], SAME] = field(default_factory=dict)  # versions, by what they are of
    models: Mapping[str, ModelSnapshot] = field(default_factory=dict)  # by name; strangers under OTHER_MODEL
    inflight: Annotated[int, GAUGE] = 0
    inflight_bytes: Annotated[int, GAUGE] = 0
    connections: Annotated[int, GAUGE] = 0
    workers: WorkersSnapshot | None = None
    utilization: Annotated[Mapping[str, float], GAUGES] = field(default_factory=dict)  # shares, by resource
    loop_busy: Annotated[float, GAUGE] = 0  # share of the loops' time
    limits: LimitsSnapshot | None = None
    shared: SharedSnapshot | None = None
    fleet: FleetSnapshot | None = None  # absent where the server is alone
    close_reasons: CloseReasonSnapshot = field(default_factory=CloseReasonSnapshot)
    reloads: ReloadSnapshot | None = None
    refused: Annotated[int, FLAG] = 0  # versions of models that cannot be served, in the worker with most
    # findings of scans in versions that are served, by severity; empty without scans
    scan_findings: Annotated[Mapping[str, int], MOST] = field(default_factory=dict)
    # of the requests that name no version, 0 to 1, by model and version
    shares: Annotated[Mapping[str, Mapping[str, float]], GAUGES] = field(default_factory=dict)
    # that have ended, by model, outcome ("done", "rolled_back") and reason
    promotions: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    # seconds since 1970 of the last promotion that the server itself has taken back, by model
    rolled_back: Annotated[Mapping[str, float], GAUGES] = field(default_factory=dict)
    objectives: Annotated[Mapping[str, ObjectiveSnapshot], SAME] = field(default_factory=dict)  # by model
    identities: Mapping[str, IdentitySnapshot] = field(default_factory=dict)
    # deaths of workers in runs, and shapes of inputs that are not run any more, by model and version
    crashes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    contained: Annotated[Mapping[tuple[str, str], int], GAUGES] = field(default_factory=dict)
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
    panics: Annotated[Mapping[str, int], GAUGES] = field(default_factory=dict)  # workers with a pool in panic, by model
    # breakers that operators hold, by model, endpoint and state
    breaker_overrides: Annotated[Mapping[tuple[str, str, str], int], GAUGES] = field(default_factory=dict)
    upstream_changes: Mapping[str, int] = field(default_factory=dict)  # by kind
    upstream_refreshes: Mapping[str, int] = field(default_factory=dict)  # by result
    # answers by model and output, then by guard and action
    output_violations: Mapping[tuple[str, str], Mapping[tuple[str, str], int]] = field(default_factory=dict)
    # by model and output: of the budget that is used most
    output_budgets: Annotated[Mapping[tuple[str, str], float], GAUGES] = field(default_factory=dict)
    shadows: Mapping[tuple[str, str, str], ShadowSnapshot] = field(default_factory=dict)  # by model, version and name
