"""The state of the server as a message of the admin API."""

from __future__ import annotations

import os

from msgspec import structs
from msgspec.structs import asdict

from modelward.admin.breaker_calls import override_messages
from modelward.admin.identity_calls import learning_messages
from modelward.admin.limit_calls import limit_messages
from modelward.admin.messages import message, problems_of
from modelward.admin.operator import FleetServer, PromotionStatus, ReloadRecord, Status
from modelward.models.weights import fractions
from modelward.promotion.state import Event
from modelward.rpc.protocol import Message
from modelward.server.containment import caller_name, words
from modelward.server.report import COLUMNS, Report


def status_message(status: Status, version_of_modelward: str) -> Message:
    return message(
        "StatusResponse",
        version=version_of_modelward,
        pid=os.getpid(),
        uptime_seconds=status.uptime_seconds,
        state=status.state,
        generation=status.generation,
        grpc=str(status.grpc),
        http=str(status.http),
        limits_store=status.limits_store,
        workers=[
            message(
                "Worker",
                worker=each.number,
                pid=each.pid,
                state=each.state,
                age_seconds=each.age_seconds,
                connections=each.connections,
                inflight=each.inflight,
            )
            for each in status.workers
        ],
        models=_models(status.report, status) if status.report else [],
        promotions=[promotion_message(each) for each in status.promotions],
        refused=[
            message(
                "Refused", name=each.name, version=each.version, problems=problems_of(each.problems), kept=each.kept
            )
            for each in (status.report.refused if status.report else ())
        ],
        contained=[
            {
                "model": each.model,
                "version": each.version,
                "shapes": [words(dims) for dims in each.shapes],
                "out_of_service": each.wholly,
                "runs_alone": each.alone,
                "callers": [
                    {
                        "caller": caller_name(caller.key, status.callers),
                        "shapes": [words(dims) for dims in caller.shapes],
                        "refused": caller.wholly,
                        "deaths": caller.deaths,
                    }
                    for caller in each.callers
                ],
            }
            for each in status.contained
        ],
        events=[_event_message(each) for each in status.events],
        state_unsaved=status.unsaved,
        temporary_limits=limit_messages(status.temporary_limits),
        breaker_overrides=override_messages(status.breakers),
        refused_reload=reload_record(status.refused_reload),
        audit=status.audit,
        proposals_waiting=len(status.waiting),
        operators=status.operators,
        approvals=status.approvals,
        configuration=status.configuration,
        needs_restart=status.needs_restart,
        detection=learning_messages(status.learning),
        fleet=status.fleet,
        upstreams=[
            message(
                "Upstream",
                address=address,
                connected=each.connected,
                available=each.available,
                inflight=each.inflight,
                breakers=each.breaker,
                fails_canary=each.fails_canary,
            )
            for address, each in sorted(status.stats.endpoints.items())
        ],
    )


def server_message(server: FleetServer) -> Message:
    return message(
        "FleetServer",
        replica=server.replica,
        release=server.release,
        state=server.state,
        age_seconds=server.age,
        uptime_seconds=server.uptime,
        leads=server.leads,
        lost=server.lost,
        models=[message("FleetModel", **asdict(each)) for each in server.models],
        more_models=server.more,
        problem=server.problem,
        name_taken=server.name_taken,
    )


def promotion_message(status: PromotionStatus) -> Message:
    known, promotion, event = status.known, status.known.promotion, status.known.event
    traffic = known.traffic
    return message(
        "Promotion",
        model=status.model,
        version=promotion.version,
        phase=promotion.phase,
        percent=promotion.percent,
        steps=promotion.steps,
        auto=promotion.auto,
        since=promotion.since,
        why=event.why if event else "",
        actor=event.actor if event else "",
        forced=promotion.forced,
        by=known.by,
        judge=known.judge,
        requests=traffic.requests if traffic else 0,
        all_requests=traffic.total if traffic else 0,
        callers=traffic.callers if traffic else 0,
        bounds=[
            message(
                "Bound",
                bound=each.bound,
                decision=str(each.decision),
                words=each.words_and_way,
                answers=each.answers,
                needed=each.needed,
            )
            for each in known.findings
        ],
    )


def _event_message(event: Event) -> Message:
    return message("Event", **structs.asdict(event))


def _models(report: Report, status: Status) -> list[Message]:
    """One per row. Versions of a model stand in ascending order there."""
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in report.rows]
    models = []
    for row in rows:
        name, number = row.pop("model"), row.pop("version")
        decided = report.decides(name, status.weights)
        share = fractions(report.versions[name], status.weights.get(name))[number] if decided else None
        words = {column.replace(" ", "_"): text for column, text in row.items()}
        failing = status.failing.get((name, number), 0)
        words["version_policy"] = status.policies.get(name, "")
        if (facts := report.facts.get(name, {}).get(number)) is not None:
            words |= {"digest": facts.digest, "signer": facts.signer, "unverified": facts.doubt}
            words["changed_files"] = status.changed_files.get((name, number), "")
        other = {
            "failing_canary": failing,
            "unnamed": facts is not None and facts.unnamed,
            "newest_acts_as_promoted": name in status.acting_as_promoted,
            "watching": report.watching.get(name, {}),
            "budgets_used": {output: used for (of, output), used in status.stats.output_budgets.items() if of == name},
        }
        models.append(message("Model", name=name, version=number, share=share, **other, **words))
    return models


def reload_record(record: ReloadRecord | None) -> Message | None:
    if record is None:
        return None
    problems = problems_of(record.problems)
    return message("ReloadRecord", at=record.at, actor=record.by, changed=record.changed, problems=problems)
