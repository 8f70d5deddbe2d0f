"""`modelward status --fleet`: every server of the fleet, and what each has promoted."""

from __future__ import annotations

from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json
from modelward.cli.output import console, print_json, print_problems, print_table
from modelward.cli.text import plain
from modelward.problem import Problem

SERVERS = ("server", "release", "state", "last seen", "leads", "store lost")
MODELS = ("model", "server", "version", "step", "epoch", "requests in this step", "not followed because")
COUNTED = (
    "requests in this step: that the version has answered, of those that all versions have. The leader adds up all "
    "servers, and judges by that; what another server counts is its own"
)
ALONE = Problem("this server is alone", "fleet", "it belongs to no fleet", "Set fleet to the URL of a store")


def show(client: admin.Client, *, json: bool) -> int:
    """Exit code: 1 where the others are not told."""
    status: Any = client.call("Status", admin.ANSWER_SECONDS, fleet=True)
    problems = [Problem(each.what, each.where, each.why, each.how) for each in status.fleet_problems]
    if not problems and not status.fleet and not status.fleet_servers:
        problems = [ALONE]
    if json:
        fields = ("fleet", "fleet_servers", "fleet_problems")
        told = as_json(status)
        print_json({name: told.get(name, "" if name == "fleet" else []) for name in fields})
        return admin.REFUSED if problems else admin.DONE
    if status.fleet:
        console().print(f"fleet: {plain(status.fleet)}", soft_wrap=True)
    if problems:
        print_problems(problems)
        return admin.REFUSED
    print_table("servers", SERVERS, [
        (each.replica, each.release, _state(each), f"{each.age_seconds:.1f} s ago",
         "yes" if each.leads else "", f"{each.lost} times" if each.lost else "")
        for each in status.fleet_servers
    ])  # fmt: skip
    if rows := sorted(
        (of.model, each.replica, of.version, of.step, of.epoch, _counted(of, leads=each.leads), of.held)
        for each in status.fleet_servers
        for of in each.models
    ):
        print_table("promotions", MODELS, rows)
    if any(of.all_requests for each in status.fleet_servers for of in each.models):
        console().print(COUNTED, soft_wrap=True)
    if more := max((each.more_models for each in status.fleet_servers), default=0):
        console().print(f"and {more} more models", soft_wrap=True)
    return admin.DONE


def _counted(of: Any, *, leads: bool) -> str:
    """Empty where no step is under way, or nothing was counted in it."""
    whose = "all servers" if leads else "its own"
    return f"{of.requests} of {of.all_requests}, {whose}" if of.all_requests else ""


def _state(server: Any) -> str:
    told: str = server.problem or server.state
    return f"{told}; another server has this name too" if server.name_taken else told
