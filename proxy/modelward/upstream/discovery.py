"""Questions to upstreams that serve cannot start without the answer to: asked of each in turn, until one answers."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, TypeVar

from modelward.certificate import is_http2
from modelward.config.upstream import UpstreamAddress, resolve
from modelward.problem import Problem, ProblemsFound
from modelward.rpc.protocol import INFERENCE_SERVICE, Code
from modelward.telemetry.logs import shown
from modelward.upstream.channel import CallError, method, open_channel
from modelward.upstream.credentials import client_context

T = TypeVar("T")
Waiting = Callable[[str], None]

log = logging.getLogger("modelward.upstream")

PAUSE_SECONDS = 0.5
REACH = "Start it, mend the address, or declare the model's signature: in the configuration"
REACH_ALL = "Start it, mend the address, or name its models and their signatures in the configuration"
LIST = "the list of its models"
RENAME = "Mend the model's name, or declare its signature: in the configuration"
REACH_SECONDS = 2.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # RFC 9113, section 3.4: with empty SETTINGS
NO_HTTP2 = "it does not speak HTTP/2 over TLS (no ALPN h2)"
WANTS = "it may want a client certificate (upstream_tls.certificate and key), or not accept ours"
CLOSED = f"it closed the connection after the handshake; {WANTS}"
MEND_TLS = "Mend upstream_tls: ca, server_name, certificate and key"
SERVES_ON = "Start it: serve would begin without it and try on"
DECLARE = "Declare the model's signature: in the configuration"
DECLARE_ALL = "Name its models in the configuration, each with its upstreams: and signature:"


class NotYet(Exception):
    """The upstream answers, and not yet with what is needed; the message says what that is."""


# answers that waiting does not change; a model that is not found may be loading still
FINAL = (Code.UNIMPLEMENTED, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)


class Unanswered(ProblemsFound):
    """No upstream has answered."""


async def ask(
    question: Callable[[UpstreamAddress], Awaitable[T]],
    addresses: list[UpstreamAddress],
    what: str,
    timeout: float,
    waiting: Waiting,
) -> T:
    """The first answer of any upstream within `timeout` seconds; 0 asks each of them once.

    waiting: told in words what is waited for. Raises Unanswered, one problem per upstream; at once where all of them
    have given an answer that waiting does not change.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    said = False
    while True:
        failures: dict[UpstreamAddress, CallError | NotYet] = {}
        for address in addresses:
            try:
                return await question(address)
            except (CallError, NotYet) as error:
                failures[address] = error
        final = all(_code(e) in FINAL for e in failures.values())
        if final or loop.time() >= deadline:
            raise Unanswered([_problem(what, address, error) for address, error in failures.items()])
        reason = f"waiting for {what} from {', '.join(f'{a.text}: {_why(e)}' for a, e in failures.items())}"
        waiting(reason)
        if not said:
            log.warning("%s", reason)
            said = True
        await asyncio.sleep(PAUSE_SECONDS)


async def untrusted(addresses: list[UpstreamAddress]) -> list[Problem]:
    """With which of the servers that can be reached TLS fails, and why, in OpenSSL's words: no request gets there."""
    found = await asyncio.gather(*(_handshake(address) for address in addresses if address.tls is not None))
    return [problem for problem in found if problem is not None]


async def _handshake(address: UpstreamAddress) -> Problem | None:
    assert address.tls is not None
    try:
        async with asyncio.timeout(REACH_SECONDS):
            host = (await resolve(address))[0]
            secure: dict[str, Any] = {"ssl": client_context(address.tls), "server_hostname": address.server_name}
            if address.path:
                reader, writer = await asyncio.open_unix_connection(host, **secure)
            else:
                reader, writer = await asyncio.open_connection(host, address.port, **secure)
            try:
                if not is_http2(writer.get_extra_info("ssl_object")):
                    return Problem("TLS with the upstream fails", address.text, NO_HTTP2, MEND_TLS)
                writer.write(PREFACE)
                # with TLS 1.3 a server that refuses our certificate says so only after the handshake
                if not await reader.read(1):
                    return Problem("TLS with the upstream fails", address.text, CLOSED, MEND_TLS)
            finally:
                writer.transport.abort()
    except ssl.SSLError as error:
        wants = f"; {WANTS}" if "alert" in str(error).lower() else ""
        return Problem("TLS with the upstream fails", address.text, f"{error}{wants}", MEND_TLS)
    except ConnectionResetError:
        return Problem("TLS with the upstream fails", address.text, CLOSED, MEND_TLS)
    except (OSError, TimeoutError):
        return None  # it cannot be reached, which is told otherwise
    return None


async def unreachable(addresses: list[UpstreamAddress]) -> list[Problem]:
    """Which of the servers do not answer now, as notes: serve starts where signatures are known, and tries on."""

    async def live(address: UpstreamAddress) -> Problem | None:
        names = "inference.ServerLiveRequest", "inference.ServerLiveResponse"
        async with open_channel(address) as channel:
            try:
                await method(channel, f"/{INFERENCE_SERVICE}/ServerLive", *names)(REACH_SECONDS)
            except CallError as error:
                if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                    return Problem("the upstream cannot be reached now", address.text, _why(error), SERVES_ON)
        return None

    return [note for note in await asyncio.gather(*map(live, addresses)) if note is not None]


def _code(error: CallError | NotYet) -> Code | None:
    return None if isinstance(error, NotYet) else error.code


def _why(error: CallError | NotYet) -> str:
    return str(error) if isinstance(error, NotYet) else f"{error.code.name}: {shown(error.details)}"


def _problem(what: str, address: UpstreamAddress, error: CallError | NotYet) -> Problem:
    code = _code(error)
    if code is None:
        return Problem(f"the upstream does not tell {what}", address.text, _why(error), "Load a model there")
    if code is Code.UNIMPLEMENTED:
        return Problem(f"the upstream has no method that tells {what}", address.text, _why(error), DECLARE)
    if code in FINAL:
        how = DECLARE_ALL if what == LIST else DECLARE
        return Problem(f"the upstream does not tell us {what}", address.text, _why(error), how)
    if code is Code.NOT_FOUND:
        return Problem(f"the upstream does not tell {what}", address.text, _why(error), RENAME)
    return Problem(
        "the upstream cannot be reached",
        address.text,
        f"it did not tell {what}: {_why(error)}",
        REACH_ALL if what == LIST else REACH,
    )


def foreign(listed: Iterable[str], local: Collection[str]) -> list[str]:
    """Those that do not run here."""
    names = list(listed)
    if same := [name for name in names if name in local]:
        what = "models %s are in the repository and on servers of `upstreams`: they run here. Rename those of one side"
        log.warning(what, ", ".join(same))
    return [name for name in names if name not in local]
