"""`modelward serve`: serves a model, a repository or a configuration until SIGTERM or SIGINT, then drains."""

import argparse
import asyncio
import logging
import resource
import signal

import uvloop

from proxy.cli.output import console, print_problems
from proxy.cli.ready import print_ready
from proxy.config.arguments import add_arguments as add_configuration_arguments
from proxy.config.arguments import from_arguments
from proxy.config.schema import Config
from proxy.problem import ProblemsFound
from proxy.server.app import running

# models, logs, the HTTP listener's connections, the loop's own
FILES_BESIDE = 256
LEVELS = ("debug", "info", "warning", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_configuration_arguments(parser)
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="(default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """0 after a drain, 1 with every problem that prevents serving."""
    logging.basicConfig(
        level=arguments.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    try:
        config = from_arguments(arguments)
        raise_file_limit(config.limits.connections.total)
        uvloop.run(serve(config))
    except ProblemsFound as found:
        print_problems(found.problems)
        return 1
    return 0


def raise_file_limit(connections: int) -> None:
    """Lets this process hold as many connections as configured, as far as its hard limit allows."""
    wanted = connections + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        logging.warning("at most %d files may be open (ulimit -n), %d connections are configured", hard, connections)


async def serve(config: Config) -> None:
    """Serves until a signal, then drains; a second signal ends at once."""
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    out = console(error=True)
    stopped = loop.create_task(signalled.wait())
    with out.status("loading models") as status:
        started = running(config, lambda name: status.update(f"loading {name}"))
        application = await started.__aenter__()
    try:
        print_ready(application)
        await stopped
        signalled.clear()
        draining = loop.create_task(application.drain())
        impatient = loop.create_task(signalled.wait())
        await asyncio.wait((draining, impatient), return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, impatient):
            task.cancel()
    finally:
        await started.__aexit__(None, None, None)
