"""Questions to upstreams that serve cannot start without the answer to: asked of each in turn, until one answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from proxy.config.upstream import UpstreamAddress
from proxy.problem import Problem, ProblemsFound

T = TypeVar("T")
Waiting = Callable[[str], None]

log = logging.getLogger("modelward.upstream")

PAUSE_SECONDS = 0.5
REACH = "Start it, mend the address, or declare the model's signature: in the configuration"
DECLARE = "Declare the model's signature: in the configuration"


async def ask(
    question: Callable[[UpstreamAddress], Awaitable[T]],
    addresses: list[UpstreamAddress],
    what: str,
    patience: float,
    waiting: Waiting,
) -> T:
    """The first answer of any upstream within `patience` seconds; 0 asks each of them once.

    waiting: told in words what is waited for. Raises ProblemsFound, one problem per upstream; at once where none
    of them has the method, since waiting does not change that.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    said = False
    while True:
        failures: dict[UpstreamAddress, grpc.RpcError] = {}
        for address in addresses:
            try:
                return await question(address)
            except grpc.RpcError as error:
                failures[address] = error
        hopeless = all(e.code() is grpc.StatusCode.UNIMPLEMENTED for e in failures.values())
        if hopeless or loop.time() >= deadline:
            raise ProblemsFound([_problem(what, address, error) for address, error in failures.items()])
        reason = f"waiting for {what} from {', '.join(f'{a.text}: {_why(e)}' for a, e in failures.items())}"
        waiting(reason)
        if not said:
            log.warning("%s", reason)
            said = True
        await asyncio.sleep(PAUSE_SECONDS)


def _why(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {error.details()}"


def _problem(what: str, address: UpstreamAddress, error: grpc.RpcError) -> Problem:
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return Problem(f"the upstream has no method that tells {what}", address.text, _why(error), DECLARE)
    if error.code() is grpc.StatusCode.NOT_FOUND:
        return Problem(f"the upstream does not tell {what}", address.text, _why(error), "Mend the model's name")
    return Problem("the upstream cannot be reached", address.text, f"no {what}: {_why(error)}", REACH)
