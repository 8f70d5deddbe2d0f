"""Methods that upstreams answer: asked of the first of them that does, or of all."""

import asyncio
import logging
import re
import time
from collections.abc import Callable

from msgspec import Struct

from modelward.config.upstream import UpstreamAddress
from modelward.problem import ProblemsFound
from modelward.rpc.call import Call
from modelward.rpc.protocol import INFERENCE_SERVICE, Code, Message, RpcError
from modelward.telemetry.logs import shown
from modelward.telemetry.paced import Paced
from modelward.upstream.channel import CallError, Channel, open_channel, parsed
from modelward.upstream.metadata import ANSWERS
from modelward_native.wire.headers import passes

log = logging.getLogger("modelward.upstream")

ANSWER_SECONDS = 5.0
LONGEST_TEXT = 256
UNREACHABLE = "no upstream server of this model can be reached"
REFUSED = "the upstream server refused this proxy's credentials, not yours"
CREDENTIAL = re.compile(r"^cookie$|auth|key|token|secret")
# binary values are not text here
KEY = re.compile(r"(?!.*-bin$)[0-9a-z_.-]+")
# what is said of a server that is not reached
SILENCE = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)


class _Line(Struct, eq=False):
    channel: Channel
    users: int = 0


class Forwarder:
    """Asks the upstreams of one list. Keeps a channel to each: many questions are not many connections.

    servers: those behind an address, which are several behind dns:///name:port.
    """

    def __init__(self, addresses: tuple[UpstreamAddress, ...]) -> None:
        self.servers: Callable[[UpstreamAddress], list[UpstreamAddress]] = lambda address: [address]
        self._addresses = addresses
        self._lines: dict[UpstreamAddress, _Line] = {}
        self._refusals = Paced()

    async def ask(self, name: str, request: Message, call: Call) -> Message:
        """The answer to the unary method `name`. RpcError: an upstream's own, or UNAVAILABLE for none."""
        for address in await self._current():
            answer = await self._answer(address, name, request, call, ANSWER_SECONDS)
            if isinstance(answer, RpcError):
                raise answer
            if answer is not None:
                return answer
        raise RpcError(Code.UNAVAILABLE, UNREACHABLE, "NO_UPSTREAM")

    async def ask_all(self, name: str, request: Message, call: Call, seconds: float = ANSWER_SECONDS) -> list[Message]:
        """The answers of all upstreams that answer, asked at the same time. RpcError where none does: that of the first
        that refuses, or UNAVAILABLE."""
        asked = (self._answer(address, name, request, call, seconds) for address in await self._current())
        told = await asyncio.gather(*asked)
        answers = [each for each in told if each is not None and not isinstance(each, RpcError)]
        if not answers:
            refusals = [each for each in told if isinstance(each, RpcError)]
            raise refusals[0] if refusals else RpcError(Code.UNAVAILABLE, UNREACHABLE, "NO_UPSTREAM")
        return answers

    async def _current(self) -> list[UpstreamAddress]:
        """Whom to ask now. Channels to servers that have gone are closed."""
        current = list(dict.fromkeys(server for address in self._addresses for server in self.servers(address)))
        for gone in self._lines.keys() - current:
            line = self._lines.pop(gone)
            if line.users == 0:
                await line.channel.close()
        return current

    async def _answer(
        self, address: UpstreamAddress, name: str, request: Message, call: Call, seconds: float
    ) -> Message | RpcError | None:
        """The upstream's answer, what its refusal is to the client, or None where it cannot be reached."""
        try:
            return await self._ask(address, name, request, call, seconds)
        except CallError as error:
            code = error.code
            if _refuses_us(code, call, address):
                self._say_refused(address, code, error.details)
                return RpcError(Code.UNAVAILABLE, REFUSED, "UPSTREAM_CREDENTIALS")
            if code not in SILENCE:
                return RpcError(code, error.details, "BACKEND_FAILED")
        except ProblemsFound:
            pass  # files of upstream_tls: the connector says so
        return None

    def _say_refused(self, address: UpstreamAddress, code: Code, text: str) -> None:
        def tell(total: int) -> None:
            words = "upstream %s refused our credentials %d times, the last with %s: %s"
            log.warning(words, address.text, total, code.name, shown(text[:LONGEST_TEXT]))

        self._refusals.add(address, 1, time.monotonic(), tell)

    async def close(self) -> None:
        lines, self._lines = self._lines, {}
        for line in lines.values():
            await line.channel.close()

    async def _ask(self, address: UpstreamAddress, name: str, request: Message, call: Call, seconds: float) -> Message:
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = _Line(open_channel(address))
        line.users += 1
        try:
            asked = line.channel.call(
                f"/{INFERENCE_SERVICE}/{name}", request.SerializeToString(), seconds, _passed_on(call)
            )
            answer: Message = parsed(ANSWERS.get(name, f"inference.{name}Response"), await asked)
            return answer
        except CallError:
            if address.tls is not None and self._lines.get(address) is line:
                del self._lines[address]  # the next reads the files of upstream_tls again, which may be the reason
            raise
        finally:
            line.users -= 1
            if line.users == 0 and self._lines.get(address) is not line:
                await asyncio.shield(line.channel.close())


def _refuses_us(code: Code, call: Call, address: UpstreamAddress) -> bool:
    """As modelward_native.wire.headers.refuses_us has it for requests."""
    if code not in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED) or (code == Code.PERMISSION_DENIED and call.identity):
        return False
    if call.may_prove_itself and not address.shows_certificate:
        return False
    return not any(CREDENTIAL.search(name) for name, _ in _passed_on(call))


def credentials(call: Call) -> tuple[str, ...]:
    """All that tells an upstream who asks."""
    shown = (f"{name}: {value}" for name, value in _passed_on(call) if CREDENTIAL.search(name))
    return (call.identity, call.identity_kind, *sorted(shown))


def _passed_on(call: Call) -> list[tuple[str, str]]:
    """The client's metadata, as far as an upstream sees it, and who the client is."""
    known = []
    if call.identity:
        known = [("modelward-identity", call.identity), ("modelward-identity-kind", call.identity_kind)]
    return known + [
        (name, value)
        for name, value in call.metadata.items()
        if KEY.fullmatch(name) and passes(name.encode()) and value.isascii() and value.isprintable()
    ]
