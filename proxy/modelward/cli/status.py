"""`modelward status`: what a running server is, has and does."""

import argparse
from collections.abc import Mapping
from typing import Any

from modelward.cli import admin, fleet
from modelward.cli.admin import as_json
from modelward.cli.breaker import print_overrides
from modelward.cli.learning import print_learning
from modelward.cli.limit import print_limits
from modelward.cli.output import console, print_json, print_notes, print_table, time_of
from modelward.cli.promote import progress
from modelward.cli.text import plain
from modelward.plural import counted
from modelward.problem import Problem

__all__ = ["add_arguments", "run"]

FEW = 20

WORKERS = ("worker", "pid", "state", "age", "connections", "in flight")
MODELS = ("model", "version", "share", "backend", "runs on", "profile", "deadline", "fallback", "limits", "guards off")
FILES = ("model", "version", "digest", "signed by")
REFUSED = ("refused", "version", "served instead", "why")
UPSTREAMS = ("upstream", "connected", "available", "in flight", "breakers", "canary")
PROMOTIONS = ("promotion of", "to version", "phase", "share", "steps", "since", "by", "why")
EVENTS = ("at", "what", "model", "version", "by", "why")
SHOWN_EVENTS = 10
CALLERS = ("kind", "name", "refused", "by limit", "last refused")
SPENDING = ("kind", "name", "requests", "backend time")
NOT_SAVED = Problem(
    "what was done last is not on disk: a restart of the server would undo it",
    "state",
    "the server cannot write its state",
    "Let it write the folder; it tries again every two seconds, and its log says when that works",
)
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 where the server answers, 1 where it answers with an error, 2 where no server answers."""
    if arguments.identities is not None:
        return admin.run(arguments, lambda client: _show_callers(client, arguments.identities, json=arguments.json))
    if arguments.fleet:
        return admin.run(arguments, lambda client: fleet.show(client, json=arguments.json))
    return admin.run(arguments, lambda client: _show(client, json=arguments.json))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    admin.add_arguments(parser)
    parser.add_argument(
        "--identities",
        type=int,
        nargs="?",
        const=FEW,
        metavar="N",
        help=f"show the N callers that are refused most and the N that use most backend time (default: {FEW})",
    )
    parser.add_argument(
        "--fleet", action="store_true", help="show all servers of the fleet, and what each has promoted"
    )


def _show_callers(client: admin.Client, count: int, *, json: bool) -> int:
    found: Any = client.call("Identities", admin.ANSWER_SECONDS, most=max(count, 1))
    if json:
        print_json(as_json(found))
        return admin.DONE
    print_table("refused by limits", CALLERS, [
        (each.kind, each.name, sum(each.refused.values()), _counted(each.refused), f"{span(each.refused_ago)} ago")
        for each in found.refused
    ])  # fmt: skip
    print_table("spending most, by a sample", SPENDING, [
        (each.kind, each.name, f"~{each.requests}", f"~{each.spent_seconds:.3g} s") for each in found.spending
    ])  # fmt: skip
    return admin.DONE


def _show(client: admin.Client, *, json: bool) -> int:
    status: Any = client.call("Status", admin.ANSWER_SECONDS)
    if json:
        print_json(as_json(status))
        return admin.DONE
    out = console()
    out.print(
        f"modelward {plain(status.version)}, pid {status.pid}: {plain(status.state)}, "
        f"up {span(status.uptime_seconds)}, generation {status.generation}",
        soft_wrap=True,
    )
    out.print(f"gRPC {plain(status.grpc)}   HTTP {plain(status.http)}", soft_wrap=True)
    out.print(f"limits: {plain(status.limits_store)}", soft_wrap=True)
    out.print(f"audit: {plain(status.audit)}", soft_wrap=True)
    for label in ("operators", "approvals", "configuration", "fleet"):
        if told := getattr(status, label):
            out.print(f"{label}: {plain(told)}", soft_wrap=True)
    admin.tell_restart(status.needs_restart)
    if waiting := status.proposals_waiting:
        wait = "waits" if waiting == 1 else "wait"
        out.print(f"{counted(waiting, 'proposal')} {wait}: modelward proposals", soft_wrap=True)
    if status.HasField("refused_reload"):
        last = status.refused_reload
        number = len(last.problems)
        first = f"{last.problems[0].where}: {last.problems[0].what}" if number else ""
        text = f"the last reload was refused at {time_of(last.at)}, asked for by {last.actor}: {first}"
        if number > 1:
            text += f" (the first of {number} problems)"
        out.print(plain(f"{text}; what was served before still is"), soft_wrap=True)
    print_table("workers", WORKERS, [
        (each.worker, each.pid, each.state, span(each.age_seconds), each.connections, each.inflight)
        for each in status.workers
    ])  # fmt: skip
    if status.models:
        print_table("models", MODELS, [
            (each.name, each.version, f"{100 * each.share:.3g} %" if each.HasField("share") else "the upstream's",
             each.backend, each.runs_on, each.profile, each.deadline, each.fallback, each.limits, each.guards_off)
            for each in status.models
        ])  # fmt: skip
    for name, watching in {each.name: each.watching for each in status.models if each.watching}.items():
        out.print(
            plain(f"{name}: {'; '.join(f'{what}: {watching[what]}' for what in sorted(watching))}"), soft_wrap=True
        )
    for name, used in {each.name: each.budgets_used for each in status.models if each.budgets_used}.items():
        told = "; ".join(f"{output} {100 * used[output]:.3g} % used" for output in sorted(used))
        out.print(plain(f"{name}: budgets: {told}"), soft_wrap=True)
    if status.refused:
        print_table("refused", REFUSED, [
            (each.name, each.version or "all", "what was before" if each.kept else "nothing",
             "; ".join(f"{problem.where}: {problem.what}" for problem in each.problems))
            for each in status.refused
        ])  # fmt: skip
    for each in status.models:
        if each.failing_canary:
            workers = f"{each.failing_canary} worker{'' if each.failing_canary == 1 else 's'}"
            out.print(plain(f"{each.name} version {each.version} fails its canary in {workers}"), soft_wrap=True)
    if any(each.digest for each in status.models):
        print_table("files", FILES, [
            (each.name, each.version, each.digest, each.signer or "nobody") for each in status.models if each.digest
        ])  # fmt: skip
    for each in status.models:
        which = f"{each.name} version {each.version}"
        if each.unverified:
            out.print(plain(f"{which} is served, and no signature of it counts: {each.unverified}"), soft_wrap=True)
        if each.changed_files:
            text = f"the files of {which} are others than those that are served: {each.changed_files}"
            out.print(plain(text), soft_wrap=True)
    if unnamed := [f"{each.name} version {each.version}" for each in status.models if each.unnamed]:
        text = f"signatures name no model and version, and would count for others: {', '.join(unnamed)}"
        out.print(plain(text), soft_wrap=True)
    for each in status.contained:
        of = f"workers died of {each.model} version {each.version}"
        if each.shapes:
            out.print(plain(f"{of} with inputs {'; '.join(each.shapes)}: not run with these again"), soft_wrap=True)
        for caller in each.callers:
            what = "not run for it again" if caller.refused else "not run with these for it again"
            text = f"{of} with inputs {'; '.join(caller.shapes)} of {caller.caller}, {caller.deaths} times: {what}"
            out.print(plain(text), soft_wrap=True)
        if each.runs_alone:
            out.print(plain(f"{of} in runs that callers shared: each request runs alone"), soft_wrap=True)
        if each.out_of_service:
            out.print(plain(f"{of}: out of service"), soft_wrap=True)
    if status.upstreams:
        print_table("upstreams, over all workers", UPSTREAMS, [
            (each.address, each.connected, each.available, each.inflight, _counted(each.breakers),
             f"{each.fails_canary} failing" if each.fails_canary else "")
            for each in status.upstreams
        ])  # fmt: skip
    if status.temporary_limits:
        print_limits(status)
    if status.breaker_overrides:
        print_overrides(status)
    for name, (policy, count) in _policies(status).items():
        out.print(plain(f"{name}: {count} versions, version_policy {policy}"), soft_wrap=True)
    for name in dict.fromkeys(each.name for each in status.models if each.newest_acts_as_promoted):
        text = "version_policy newest acts as promoted, since promotions need approvals"
        out.print(plain(f"{name}: {text}: modelward promote {name} VERSION"), soft_wrap=True)
    print_learning(status.detection)
    if status.promotions:
        print_table("promotions", PROMOTIONS, [
            (each.model, each.version, _phase(each), f"{each.percent} %", ", ".join(map(str, each.steps)),
             time_of(each.since), each.actor, each.why)
            for each in status.promotions
        ])  # fmt: skip
    for each in status.promotions:
        for line in progress(each):
            out.print(plain(f"{each.model} version {each.version}: {line}"), soft_wrap=True)
    if status.events:
        print_table("lately", EVENTS, [
            (time_of(each.at), f"{each.what}{', forced' if each.forced else ''}", each.model, each.version, each.actor,
             each.why)
            for each in [*status.events][-SHOWN_EVENTS:]
        ])  # fmt: skip
    if status.state_unsaved:
        print_notes([NOT_SAVED])
    return admin.DONE


def span(seconds: float) -> str:
    """In the largest unit of which there is one: 90 s is 1 min."""
    for size, unit in UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return "0 s"


def _phase(promotion: Any) -> str:
    return f"{promotion.phase}{', by itself' if promotion.auto and promotion.phase == 'stepping' else ''}"


def _policies(status: Any) -> dict[str, tuple[str, int]]:
    """Of models of several versions."""
    found: dict[str, tuple[str, int]] = {}
    for each in status.models:
        if each.version_policy:
            found[each.name] = each.version_policy, found.get(each.name, ("", 0))[1] + 1
    return {name: told for name, told in found.items() if told[1] > 1}


def _counted(breakers: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(breakers.items()) if count)
