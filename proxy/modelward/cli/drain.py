"""`modelward drain`: ends a running server as SIGTERM does."""

import argparse
import time
from typing import Any

from modelward.cli import admin
from modelward.cli.admin import as_json, problems_of
from modelward.cli.output import console, print_json, print_problems

LOOK_SECONDS = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="return when the server has ended")
    admin.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when the drain has begun (with --wait: has ended), 1 if refused, 2 where no server answers."""
    return admin.run(arguments, lambda client: _drain(client, wait=arguments.wait, json=arguments.json))


def _drain(client: admin.Client, *, wait: bool, json: bool) -> int:
    begun: Any = client.call("Drain", admin.ANSWER_SECONDS)
    if json:
        print_json(as_json(begun))
    if begun.problems:
        if not json:
            print_problems(problems_of(begun))
        return admin.REFUSED
    if not json:
        later = f"for {begun.delay_seconds:g} s new connections are still taken, then " if begun.delay_seconds else ""
        told = (
            f"{begun.inflight} requests on {begun.connections} connections have {begun.timeout_seconds:g} s to finish"
        )
        console().print(f"draining: not ready any more; {later}{told}", soft_wrap=True)
    if wait:
        _wait(client)
    return admin.DONE


def _wait(client: admin.Client) -> None:
    """Until no server answers."""
    while True:
        try:
            client.call("WhoAmI", admin.ANSWER_SECONDS)
        except admin.Unreachable:
            return
        time.sleep(LOOK_SECONDS)
