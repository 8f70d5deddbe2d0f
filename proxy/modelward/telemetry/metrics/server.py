"""Metrics of the server and its processes: workers, connections, limits, reloads, promotions, TLS, access, scrapes."""

from __future__ import annotations

from collections.abc import Iterator

from modelward.telemetry.metrics.approvals import approvals_families
from modelward.telemetry.metrics.audit import audit_families
from modelward.telemetry.metrics.capture import capture_families
from modelward.telemetry.metrics.detection import detection_families
from modelward.telemetry.metrics.drift import drift_families
from modelward.telemetry.metrics.family import Family
from modelward.telemetry.metrics.fleet import fleet_families
from modelward.telemetry.metrics.integrity import integrity_families
from modelward.telemetry.snapshot import Snapshot

# how each count of AccessSnapshot is called as a label
CREDENTIAL_RESULTS = {
    "hits": "known",
    "misses": "checked",
    "refused": "check_failed",
    "known_bad": "known_bad",
}


def server_families(snapshot: Snapshot) -> Iterator[Family]:
    if snapshot.build:
        build = Family(
            "modelward_build_info",
            "gauge",
            "Always 1. The labels are the versions of Modelward and its libraries",
            (*snapshot.build,),
        )
        build.add((*snapshot.build.values(),), 1)
        yield build
    yield Family("modelward_inflight", "gauge", "Requests in flight", rows=[((), snapshot.inflight)])
    held = "Bytes of requests in flight and of responses that clients have not read"
    yield Family("modelward_inflight_bytes", "gauge", held, rows=[((), snapshot.inflight_bytes)])
    yield Family("modelward_connections", "gauge", "Open gRPC connections", rows=[((), snapshot.connections)])
    yield from _workers(snapshot)
    yield from _utilization(snapshot)
    yield from _limits(snapshot)
    yield from _shared(snapshot)
    yield from _close_reasons(snapshot)
    yield from _reloads(snapshot)
    watch = "Changes of configuration or repository that an error kept from being followed. SIGHUP reloads"
    yield Family("modelward_watch_failures", "counter", watch, rows=[((), snapshot.watch_failures)])
    yield from _access_log(snapshot)
    yield from _promotions(snapshot)
    yield from _crashes(snapshot)
    yield from _tls(snapshot)
    yield from _access(snapshot)
    yield from _operators(snapshot)
    yield from _scrapes(snapshot)
    yield from audit_families(snapshot)
    yield from capture_families(snapshot)
    yield from detection_families(snapshot)
    yield from drift_families(snapshot)
    yield from approvals_families(snapshot)
    yield from integrity_families(snapshot)
    yield from fleet_families(snapshot)


def _workers(snapshot: Snapshot) -> Iterator[Family]:
    if (workers := snapshot.workers) is None:
        return
    restarts = Family("modelward_worker_restarts", "counter", "Workers that were replaced, by reason", ("reason",))
    for reason, count in workers.restarts.items():
        restarts.add((reason,), count)
    yield Family("modelward_workers", "gauge", "Workers that accept requests", rows=[((), workers.ready)])
    yield restarts


def _utilization(snapshot: Snapshot) -> Iterator[Family]:
    """Nothing before there is a window: an autoscaler must not take a server that has just begun for an idle one."""
    if not (shares := snapshot.utilization):
        return
    highest = "Share of this server in use over 15 s: the highest of modelward_utilization_part. For autoscalers"
    yield Family("modelward_utilization", "gauge", highest, rows=[((), max(shares.values()))])
    parts = Family(
        "modelward_utilization_part",
        "gauge",
        "Share in use over 15 s of permits, of event loops' time, of backend time here. Refused requests hardly count",
        ("of",),
    )
    for of, share in shares.items():
        parts.add((of,), share)
    yield parts
    busy = "Share of the time of event loops over 15 s that is spent, on refused requests too"
    yield Family("modelward_loop_busy", "gauge", busy, rows=[((), snapshot.loop_busy)])


def _limits(snapshot: Snapshot) -> Iterator[Family]:
    if (limits := snapshot.limits) is None:
        return
    yield Family(
        "modelward_limit_cells",
        "gauge",
        "Peers and identities whose rate limits are tracked now",
        rows=[((), limits.cells)],
    )
    capacity = Family(
        "modelward_limit_cells_capacity",
        "gauge",
        "Peers and identities that can be tracked; all further ones share a limit",
    )
    capacity.add((), limits.capacity)
    yield capacity


def _shared(snapshot: Snapshot) -> Iterator[Family]:
    if (shared := snapshot.shared) is None:
        return
    syncs = Family(
        "modelward_shared_limits_syncs", "counter", "Exchanges with the store of shared limits, by result", ("result",)
    )
    trips = Family("modelward_shared_limits_round_trip_seconds", "histogram", "Time of an exchange with the store")
    unbooked = Family(
        "modelward_shared_limits_unbooked",
        "counter",
        "Requests that counted only on this server, because it has too many identities",
    )
    yield Family(
        "modelward_shared_limits_up", "gauge", "1 while the store of shared limits answers", rows=[((), shared.up)]
    )
    for result, count in shared.syncs.items():
        syncs.add((result,), count)
    trips.add((), shared.seconds)
    unbooked.add((), shared.unbooked)
    yield from (syncs, trips, unbooked)
    yield Family(
        "modelward_shared_limits_cells",
        "gauge",
        "Limits in the last exchange with the store",
        rows=[((), shared.cells)],
    )


def _close_reasons(snapshot: Snapshot) -> Iterator[Family]:
    refused = Family(
        "modelward_connections_refused", "counter", "Connections that were refused on arrival, by reason", ("reason",)
    )
    closed = Family(
        "modelward_connections_closed", "counter", "Connections that this server closed, by reason", ("reason",)
    )
    for why, count in snapshot.close_reasons.refused.items():
        refused.add((why,), count)
    for why, count in snapshot.close_reasons.closed.items():
        closed.add((why,), count)
    yield from (refused, closed)


def _reloads(snapshot: Snapshot) -> Iterator[Family]:
    if (stats := snapshot.reloads) is None:
        return
    reloads = Family(
        "modelward_reloads",
        "counter",
        "Reloads of configuration and repository: applied, partial or refused",
        ("result",),
    )
    in_order = Family(
        "modelward_last_reload_successful",
        "gauge",
        "0 after a reload that was refused as a whole; what was served before goes on",
    )
    reloads.add(("applied",), stats.applied)
    reloads.add(("partial",), stats.partial)
    reloads.add(("refused",), stats.refused)
    in_order.add((), 1 - stats.failing)
    yield from (reloads, in_order)
    text = "Models and versions that cannot be served as the repository has them. The log and RepositoryIndex say why"
    yield Family("modelward_models_refused", "gauge", text, rows=[((), snapshot.refused)])
    findings = Family(
        "modelward_scan_findings", "gauge", "Findings of scans in versions that are served, by severity", ("severity",)
    )
    for severity, count in snapshot.scan_findings.items():
        findings.add((severity,), count)
    yield findings


def _promotions(snapshot: Snapshot) -> Iterator[Family]:
    """reason: of a promotion that was taken back the bound that was passed, or "asked"; else empty."""
    share = "Share (0 to 1) of the requests without a version that this version gets"
    shares = Family("modelward_version_share", "gauge", share, ("model", "version"))
    ended = Family(
        "modelward_promotions",
        "counter",
        "Promotions that have ended: done, or rolled_back with a reason",
        ("model", "outcome", "reason"),
    )
    for model, versions in snapshot.shares.items():
        for version, part in versions.items():
            shares.add((model, version), part)
    for labels, count in snapshot.promotions.items():
        ended.add(labels, count)
    last = Family(
        "modelward_promotion_rolled_back_timestamp_seconds",
        "gauge",
        "Time at which the server itself has taken a promotion back last, in seconds since 1970",
        ("model",),
    )
    for model, at in snapshot.rolled_back.items():
        last.add((model,), at)
    yield from (shares, ended, last)
    if (state := snapshot.state) is not None:
        unsaved = "1 while a promotion or rollback is not saved on disk. A restart would undo it"
        yield Family("modelward_state_unsaved", "gauge", unsaved, rows=[((), state.unsaved)])
        failures = "Failed writes of promotions and rollbacks to disk"
        yield Family("modelward_state_write_failures", "counter", failures, rows=[((), state.failures)])


def _crashes(snapshot: Snapshot) -> Iterator[Family]:
    labels = ("model", "version")
    crashes = Family("modelward_crashes", "counter", "Workers that died in a run of the version", labels)
    contained = Family(
        "modelward_contained",
        "gauge",
        "Input shapes that the version is not run with, for one caller or for all",
        labels,
    )
    deaths = Family(
        "modelward_worker_deaths",
        "counter",
        "Workers that died, by cause: run, unattributed, signal or exit",
        ("cause",),
    )
    for key, count in snapshot.crashes.items():
        crashes.add(key, count)
    for key, count in snapshot.contained.items():
        contained.add(key, count)
    for cause, number in snapshot.deaths.items():
        deaths.add((cause,), number)
    yield from (crashes, contained, deaths)


def _tls(snapshot: Snapshot) -> Iterator[Family]:
    if (tls := snapshot.tls) is None:
        return
    end = Family(
        "modelward_tls_certificate_not_after_seconds", "gauge", "End of the certificate, in seconds since 1970"
    )
    reloads = Family("modelward_tls_reloads", "counter", "Changed certificate files: loaded or failed", ("result",))
    handshakes = Family("modelward_tls_handshake_failures", "counter", "TLS handshakes that failed or timed out")
    end.add((), tls.not_after)
    reloads.add(("loaded",), tls.reloads)
    reloads.add(("failed",), tls.failed_reloads)
    handshakes.add((), tls.failed_handshakes)
    yield from (end, reloads, handshakes)


def _access(snapshot: Snapshot) -> Iterator[Family]:
    if (access := snapshot.access) is None:
        return
    credentials = Family(
        "modelward_access_credentials",
        "counter",
        "Credentials of calls: known, checked, check_failed or known_bad",
        ("result",),
    )
    for count, result in CREDENTIAL_RESULTS.items():
        credentials.add((result,), getattr(access, count))
    cached = Family("modelward_access_cached_credentials", "gauge", "Verified credentials in the cache")
    identities = Family("modelward_access_identities", "gauge", "Identities that are known")
    reloads = Family("modelward_access_failed_reloads", "counter", "Failed reloads of key files")
    had = Family(
        "modelward_access_key_set_timestamp_seconds",
        "gauge",
        "Time of the last download of the issuer's key set, in seconds since 1970",
    )
    failures = Family("modelward_access_key_set_failures", "counter", "Failed downloads of the issuer's key set")
    cached.add((), access.cached)
    identities.add((), access.identities)
    reloads.add((), access.failed_reloads)
    yield from (credentials, cached, identities, reloads)
    if access.key_set is not None:
        had.add((), access.key_set.had)
        failures.add((), access.key_set.failures)
        yield from (had, failures)


def _operators(snapshot: Snapshot) -> Iterator[Family]:
    """cause: denied, for want of a role, or unauthenticated."""
    if (operators := snapshot.operators) is None:
        return
    denied = Family(
        "modelward_operator_calls_denied", "counter", "Calls of the admin API that were denied", ("verb", "cause")
    )
    for labels, count in operators.denied.items():
        denied.add(labels, count)
    failures = Family(
        "modelward_operator_key_set_failures", "counter", "Key sets of operators' tokens that could not be loaded"
    )
    failures.add((), operators.key_set_failures)
    yield from (denied, failures)


def _scrapes(snapshot: Snapshot) -> Iterator[Family]:
    if (scrapes := snapshot.scrapes) is None:
        return
    pages = Family("modelward_scrapes", "counter", "Scrapes of /metrics: page made, or reused", ("page",))
    pages.add(("made",), scrapes.made)
    pages.add(("reused",), scrapes.reused)
    yield pages
    spent = Family("modelward_scrape_seconds", "counter", "CPU time spent on pages of metrics")
    spent.add((), scrapes.seconds)
    size = Family("modelward_scrape_bytes", "gauge", "Size of the page of metrics before compression")
    size.add((), scrapes.size)
    yield from (spent, size)


def _access_log(snapshot: Snapshot) -> Iterator[Family]:
    if (found := snapshot.access_log) is None:
        return
    written = "Requests that were written to the access log"
    yield Family("modelward_access_log_written", "counter", written, rows=[((), found.written)])
    dropped = Family(
        "modelward_access_log_dropped",
        "counter",
        "Requests that were chosen for the access log and are not in it, by reason",
        ("reason",),
    )
    dropped.add(("full",), found.full)
    dropped.add(("failed",), found.failed)
    yield dropped
