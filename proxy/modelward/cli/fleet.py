"""`modelward status --fleet`: every server of the fleet, and what each has promoted."""

from __future__ import annotations

from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json
from modelward.cli.output import console, print_json, print_problems, print_table
from modelward.cli.text import plain
from modelward.problem import Problem

SERVERS = ("server", "release", "state", "last seen", "leads", "store lost")
MODELS = ("model", "server", "version", "step", "epoch", "requests", "not followed because")
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
        (of.model, each.replica, of.version, of.step, of.epoch, f"{of.requests} of {of.all_requests}", of.held)
        for each in status.fleet_servers
        for of in each.models
    ):
        print_table("promotions", MODELS, rows)
    if more := max((each.more_models for each in status.fleet_servers), default=0):
        console().print(f"and {more} more models", soft_wrap=True)
    return admin.DONE


def _state(server: Any) -> str:
    told: str = server.problem or server.state
    return f"{told}; another server has this name too" if server.name_taken else told
