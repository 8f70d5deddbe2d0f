"""The admin API in front of an operator that the test plays: who can connect, what is told, what goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from loadtests.fuzz.frames import DATA, END_STREAM, frame
from modelward.admin.operator import Draining, NotNow, OperationResult, PromotionStatus, Replaced, Status, WorkerStatus
from modelward.admin.server import MOST_CALLS, MOST_CONNECTIONS, AdminServer
from modelward.admin.service import SERVICE
from modelward.audit.recorder import NoTrail
from modelward.config.address import Address, parse_address
from modelward.detect.progress import Progress
from modelward.detect.restriction import Restriction
from modelward.detect.suspects import Suspect, Suspects
from modelward.limits.callers import Caller, Callers
from modelward.limits.temporary import Kind, TemporaryLimit
from modelward.models.facts import Facts
from modelward.problem import Problem, ProblemsFound
from modelward.promotion.asked import Wanted
from modelward.promotion.finding import Decision, Finding
from modelward.promotion.judge import Known
from modelward.promotion.state import Event, Promotion
from modelward.promotion.step import Traffic
from modelward.rpc.protocol import message_class, pool
from modelward.server.report import Report
from modelward.telemetry.snapshot import EndpointSnapshot, Snapshot
from modelward.upstream.breaker_override import BreakerOrder, BreakerOverride
from tests.proxy.admin.unended import UNENDED, crowd

TIMEOUT = 20.0
ANYWHERE = Address(host="127.0.0.1", port=0)
BROKEN = Problem("this is no model", "models/broken", "it is empty", "Write one")
PROMOTED = PromotionStatus(
    "a",
    Known(
        Promotion(version="2", before={"1": 1}, configured=None, steps=(25, 100), since=7.5),
        Event(at=7.5, model="a", version="2", what="25 %", actor="bob", why="a reason"),
        (Finding("errors", Decision.UNDECIDED, "too few", 3, 700, "Wait"),),
        Traffic(3, 9, 2),
        judge="s0",
    ),
    (BROKEN,),
    unsaved=True,
)
CELLS = ("ONNX Runtime", "loop", "none", "50ms", "value", "none", "limits, anomaly")
ROWS = (("a", "1", *CELLS), ("a", "2", *CELLS), ("b", "1", *CELLS), ("b", "7", *CELLS))
HERE = Facts("", profile=False, canary=False)


class PlayedLimits:
    """set_: those that were set. Nothing can be unset."""

    def __init__(self) -> None:
        self.set_: list[TemporaryLimit] = []

    async def set(self, limit: TemporaryLimit) -> None:
        self.set_.append(limit)

    async def unset(self, kind: Kind, name: str) -> None:
        raise ProblemsFound([BROKEN])


class PlayedBreakers:
    """orders: those that were obeyed."""

    def __init__(self) -> None:
        self.orders: list[BreakerOrder] = []

    def of(self, model: str) -> Sequence[BreakerOverride]:
        return [BreakerOverride(each.model, each.endpoint, "open", each.seconds, "bob") for each in self.orders]

    def check(self, order: BreakerOrder) -> None:
        if order.endpoint not in ("", "up:1"):
            raise ProblemsFound([BROKEN])

    async def obey(self, order: BreakerOrder, actor: str = "") -> Sequence[BreakerOverride]:
        self.check(order)
        self.orders.append(order)
        return self.of(order.model)


MEASURING = Progress("a", "measuring", 300, 32_768, 8192, 60.0)


class PlayedRestrictions:
    """set_, pardoned: what was asked for."""

    def __init__(self) -> None:
        self.set_: list[Restriction] = []
        self.pardoned: list[tuple[str, str]] = []

    def of(self, identity: str) -> Sequence[Restriction]:
        return [each for each in self.set_ if each.identity == identity]

    def restrict(self, restriction: Restriction) -> Sequence[Restriction]:
        self.set_.append(restriction)
        return self.of(restriction.identity)

    def watched(self) -> Sequence[str]:
        return ["a"]

    def doubts(self, identity: str, model: str) -> Sequence[Problem]:
        return [Problem("no key has this name", f"identity {identity}")] if identity.startswith("slip") else []

    def pardon_all(self, model: str, by: str = "", reason: str = "") -> int:
        self.pardoned.append(("*", model))
        return 5

    def pardon(self, identity: str, model: str, by: str = "", reason: str = "") -> int:
        self.pardoned.append((identity, model))
        return 2


class Played:
    """An operator of two workers and three versions. Its reloads wait for `go`."""

    trail = NoTrail()
    needs_restart: Sequence[str] = ()

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.reloading = 0
        self.restarts = 0
        self.wanted: Wanted | None = None
        self.outcome = OperationResult(changed=("limits.streams",), needs_restart=("workers",))
        self.error: Exception | None = None
        self.actors: list[str] = []
        self.with_rights = False  # in the last reload
        self.address = ""  # of the server that asks it
        self.proposals: Any = SimpleNamespace(needed=lambda verb, model="": 0)
        self.temporary_limits = PlayedLimits()
        self.breakers = PlayedBreakers()
        self.restrictions = PlayedRestrictions()
        self.asked: tuple[str, int, str] | None = None  # of suspects

    def status(self) -> Status:
        if self.error is not None:
            raise self.error
        return Status(
            state="ready",
            uptime_seconds=1.5,
            generation=3,
            grpc=Address(host="127.0.0.1", port=1),
            http=Address(path="/run/http.sock"),
            limits_store="shared memory",
            workers=[WorkerStatus(0, 11, "ready", 1.0, 2, 3), WorkerStatus(3, 12, "draining", 9.0, 1, 0)],
            report=Report(ROWS, (), (), facts={"a": dict.fromkeys("12", HERE), "b": dict.fromkeys("17", HERE)}),
            stats=Snapshot(endpoints={"up:1": EndpointSnapshot(inflight=4, connected=2, breaker={"open": 1})}),
            weights={"a": {"1": 30, "2": 10}},
            promotions=[PROMOTED],
            failing={("b", "1"): 2},
            policies={"a": "promoted"},
            events=[Event(at=1.5, what="reload", actor="carol")],
            unsaved=True,
            learning=[MEASURING],
        )

    def suspects(self, least: str, most: int, model: str = "") -> Suspects:
        self.asked = (least, most, model)
        one = Suspect("key", "team-a", "a", "block", "round", False, {"near": 24.5}, 1.0, 2.0, 3.0, 1, 400.0, 20.0, 0)
        return Suspects([one], {"block": 1}, ["a"], learning=[MEASURING])

    def callers(self, count: int) -> Callers:
        known = Caller("key", "ops", {"identity": 3, "total": 0}, 64, 0.5, 1.5), Caller("address", "10.0.0.1")
        return Callers(known[:count], known[:1])

    async def reload(self, actor: str = "", rights: bool = True) -> OperationResult:
        self.actors.append(actor)
        self.with_rights = rights
        self.reloading += 1
        await self.go.wait()
        return self.outcome

    async def restart(self, replaced: Callable[[Replaced], None], actor: str = "") -> OperationResult:
        self.actors.append(actor)
        if self.error is not None:
            raise self.error
        replaced(Replaced(2, 21, 11))
        await self.go.wait()
        replaced(Replaced(1, 22, 0))
        self.restarts += 1
        return OperationResult((BROKEN,))

    async def promote(self, wanted: Wanted) -> PromotionStatus:
        self.wanted = wanted
        return PROMOTED

    async def rollback(self, model: str, why: str = "", actor: str = "", proposal: int = 0) -> PromotionStatus:
        self.actors.append(actor)
        raise ProblemsFound([BROKEN])

    async def ask_to_drain(self, actor: str = "") -> Draining:
        self.actors.append(actor)
        return Draining(3, 2, 1.5, 20.0)

    async def pardon(self, model: str, version: str | None, actor: str = "") -> Sequence[tuple[str, str]]:
        return [(model, each) for each in ("1", "2") if version in (None, each)]

    def capture_folder(self, model: str) -> Path | None:
        return Path("/captured") if model == "a" else None

    def observed(self, texts: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(texts, "key 'team-a'")

    async def shadows(self, model: str) -> Sequence[Mapping[str, Any]]:
        if model != "a":
            raise ProblemsFound([BROKEN])
        return [{"shadow": "2", "verdict": "worse"}, {"shadow": "3", "verdict": "undecided"}]


def method(channel: grpc.aio.Channel, name: str) -> Any:
    described = pool().FindServiceByName(SERVICE).methods_by_name[name]
    kind = channel.unary_stream if described.server_streaming else channel.unary_unary
    request, response = (message_class(each.full_name) for each in (described.input_type, described.output_type))
    call = kind(
        f"/{SERVICE}/{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    return lambda wait_for_ready=None, **fields: call(request(**fields), timeout=TIMEOUT, wait_for_ready=wait_for_ready)


def talk(test: Callable[[Played, grpc.aio.Channel], Awaitable[None]], address: Address = ANYWHERE) -> None:
    """Runs `test` with a started server's operator and a channel to it."""

    async def main() -> None:
        operator = Played()
        server = await AdminServer.start(address, None, operator)
        operator.address = str(server.address)
        try:
            async with grpc.aio.insecure_channel(operator.address) as channel:
                await test(operator, channel)
        finally:
            await server.stop()

    asyncio.run(main())


def refusal(address: Address) -> str:
    with pytest.raises(ProblemsFound) as found:
        asyncio.run(AdminServer.start(address, None, Played()))
    return str(found.value)


async def code_of(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


# ---- what is told ----------------------------------------------------------------------------------------------


def test_where_captured_requests_lie_is_told_and_recorded() -> None:
    async def ask(operator: Played, channel: grpc.aio.Channel) -> None:
        found = await method(channel, "OpenCapture")(model="a", action="export")
        assert (found.folder, [*found.problems]) == ("/captured", [])
        told = await method(channel, "OpenCapture")(model="a", action="who", who=["00112233445566aa"])
        assert dict(told.who) == {"00112233445566aa": "key 'team-a'"}
        uncaptured = await method(channel, "OpenCapture")(model="b", action="who", who=["00112233445566aa"])
        assert (uncaptured.folder, len(uncaptured.who)) == ("", 1)
        other = await method(channel, "OpenCapture")(model="b", action="list")
        assert [each.what for each in other.problems] == ["requests of the model are not captured"]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(channel, "OpenCapture")(model="a", action="remove")
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(channel, "OpenCapture")(model="a", action="who", who=["x"] * 1001)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    talk(ask)


def test_status_tells_workers_versions_with_their_shares_and_upstreams() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        told = await method(channel, "Status")()
        assert (told.pid, told.state, told.generation) == (os.getpid(), "ready", 3)
        assert (told.grpc, told.http) == ("127.0.0.1:1", "unix:/run/http.sock")
        assert told.limits_store == "shared memory"
        assert [(w.worker, w.pid, w.state, w.connections, w.inflight) for w in told.workers] == [
            (0, 11, "ready", 2, 3),
            (3, 12, "draining", 1, 0),
        ]
        assert [(m.name, m.version, m.share) for m in told.models] == [
            ("a", "1", 0.75),
            ("a", "2", 0.25),
            ("b", "1", 0),
            ("b", "7", 1),
        ]
        assert (told.models[0].deadline, told.models[0].guards_off) == ("50ms", "limits, anomaly")
        assert [m.failing_canary for m in told.models] == [0, 0, 2, 0]
        (upstream,) = told.upstreams
        assert (upstream.address, upstream.connected, upstream.inflight) == ("up:1", 2, 4)
        assert dict(upstream.breakers) == {"open": 1}
        assert [m.version_policy for m in told.models] == ["promoted", "promoted", "", ""]
        assert ([(e.what, e.actor) for e in told.events], told.state_unsaved) == ([("reload", "carol")], True)

    talk(test)


def test_a_promotion_is_asked_for_with_all_that_was_said_and_told_or_its_problems_are() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        asked = {"model": "a", "version": "2", "steps": [25, 100], "auto": True, "force": "a reason"}
        asked["without"] = ["profile"]
        answer = await method(channel, "Promote")(**asked)
        assert operator.wanted is not None
        actor = operator.wanted.actor
        assert f"uid {os.getuid()}" in actor, "the client's socket is ours"
        wanted = Wanted("a", "2", (25, 100), auto=True, force="a reason", actor=actor, without=("profile",))
        assert operator.wanted == wanted
        assert (answer.promotion.percent, answer.promotion.why, [*answer.problems]) == (25, "a reason", [])
        assert (answer.promotion.actor, answer.unsaved, answer.warnings[0].what) == ("bob", True, BROKEN.what)
        assert (answer.promotion.requests, answer.promotion.all_requests, answer.promotion.callers) == (3, 9, 2)
        assert answer.promotion.judge == "s0"
        (bound,) = answer.promotion.bounds
        assert (bound.bound, bound.decision, bound.words) == ("errors", "undecided", "too few. Wait")
        assert (bound.answers, bound.needed) == (3, 700)
        (promotion,) = (await method(channel, "Status")()).promotions
        assert promotion == answer.promotion
        refused = await method(channel, "Rollback")(model="a")
        assert operator.actors == [actor]
        assert [problem.how for problem in refused.problems] == [BROKEN.how]

    talk(test)


def test_shadows_are_told_as_documents_or_what_is_wrong() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        told = await method(channel, "Shadows")(model="a")
        assert [json.loads(each)["verdict"] for each in told.reports] == ["worse", "undecided"]
        refused = await method(channel, "Shadows")(model="b")
        assert ([*refused.reports], [problem.what for problem in refused.problems]) == ([], [BROKEN.what])

    talk(test)


def test_callers_are_told_with_what_refused_them() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        told = await method(channel, "Identities")()
        ops, stranger = told.refused
        assert (ops.kind, ops.name, dict(ops.refused), ops.refused_ago) == ("key", "ops", {"identity": 3}, 1.5)
        assert (stranger.kind, stranger.name, stranger.refused_ago) == ("address", "10.0.0.1", -1)
        assert [(each.name, each.requests, each.spent_seconds) for each in told.spending] == [("ops", 64, 0.5)]
        assert len((await method(channel, "Identities")(most=1)).refused) == 1

    talk(test)


def test_a_reload_answers_with_what_came_of_it() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        operator.go.set()
        applied = await method(channel, "Reload")()
        assert (applied.generation, list(applied.changed), list(applied.needs_restart), list(applied.problems)) == (
            3,
            ["limits.streams"],
            ["workers"],
            [],
        )
        operator.outcome = OperationResult((BROKEN,))
        (problem,) = (await method(channel, "Reload")()).problems
        assert (problem.what, problem.where, problem.why, problem.how) == (
            BROKEN.what,
            BROKEN.where,
            BROKEN.why,
            BROKEN.how,
        )

    talk(test)


def test_a_restart_tells_of_each_worker_as_it_is_replaced() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        steps = method(channel, "RollingRestart")()
        first = await steps.read()
        assert (first.replaced.worker, first.replaced.pid, first.replaced.before) == (2, 21, 11)
        operator.go.set()
        second, last = await steps.read(), await steps.read()
        assert (second.replaced.worker, second.replaced.before) == (1, 0)
        assert [problem.what for problem in last.done.problems] == [BROKEN.what]
        assert await steps.read() is grpc.aio.EOF

    talk(test)


def test_a_drain_tells_what_is_left_to_do() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        begun = await method(channel, "Drain")()
        assert (begun.inflight, begun.connections, begun.delay_seconds, begun.timeout_seconds) == (3, 2, 1.5, 20)
        assert f"uid {os.getuid()}" in operator.actors[0]

    talk(test)


# ---- errors ----------------------------------------------------------------------------------------------------


def test_what_cannot_be_done_now_is_told_as_such() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        operator.error = NotNow("the server is draining")
        told = await code_of(method(channel, "Status")())
        assert told == (grpc.StatusCode.FAILED_PRECONDITION, "the server is draining")
        assert await code_of(method(channel, "RollingRestart")().read()) == told

    talk(test)


def test_a_bug_tells_the_client_nothing_of_itself() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        operator.error = ValueError("/etc/secret")
        code, words = await code_of(method(channel, "Status")())
        assert (code, words) == (grpc.StatusCode.INTERNAL, "internal error; the server's log says more")

    talk(test)


def test_unknown_methods_and_large_messages_are_refused() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        unknown, known = (channel.unary_unary(f"/{SERVICE}/{name}") for name in ("Destroy", "Status"))
        assert (await code_of(unknown(b"")))[0] is grpc.StatusCode.UNIMPLEMENTED
        assert (await code_of(known(b"\x12" * 100_000)))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED

    talk(test)


def test_calls_of_one_peer_leave_as_many_for_others_and_what_takes_no_time_is_always_answered() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        waiting = [asyncio.ensure_future(method(channel, "Reload")().code()) for _ in range(MOST_CALLS)]
        ended = asyncio.as_completed(waiting)
        assert {await next(ended) for _ in range(MOST_CALLS // 2)} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        code, told = await code_of(method(channel, "Reload")())
        assert (code, told) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "8 calls are under way, 8 of them yours; ask again when one has ended",
        )
        assert (await method(channel, "Status")()).generation == 3
        host, _, port = operator.address.rpartition(":")
        _, other = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0))
        other.write(UNENDED["its message and no end"] + frame(DATA, 1, flags=END_STREAM))
        while operator.reloading <= MOST_CALLS // 2:
            await asyncio.sleep(0.005)
        operator.go.set()
        assert [await next(ended) for _ in range(MOST_CALLS // 2)] == [grpc.StatusCode.OK] * (MOST_CALLS // 2)
        other.transport.abort()

    talk(test)


def test_a_restart_goes_on_without_the_client_that_asked_for_it() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        call = method(channel, "RollingRestart")()
        await call.read()
        call.cancel()
        assert await call.code() is grpc.StatusCode.CANCELLED
        operator.go.set()
        while not operator.restarts:
            assert await method(channel, "Status")().code() is grpc.StatusCode.OK

    talk(test)


# ---- who can connect -------------------------------------------------------------------------------------------


def test_a_taken_port_is_told_with_how_to_mend_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = refusal(Address(host="127.0.0.1", port=taken.getsockname()[1]))
    assert "listen.admin: cannot listen on 127.0.0.1:" in told
    assert "--set listen.admin=off" in told


def test_two_servers_never_share_a_port() -> None:
    async def main() -> None:
        server = await AdminServer.start(ANYWHERE, None, Played())
        try:
            with pytest.raises(ProblemsFound, match="Address already in use"):
                await AdminServer.start(server.address, None, Played())
        finally:
            await server.stop()

    asyncio.run(main())


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_a_unix_socket_is_for_this_user_alone_and_goes_with_the_server(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "admin.sock"

    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await method(channel, "Status")()).generation == 3

    before = os.umask(umask)
    try:
        talk(test, Address(path=str(path)))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert not path.exists()


def test_the_socket_of_a_live_process_is_left_alone_and_that_of_a_dead_one_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        assert "cannot listen on unix:" in refusal(Address(path=str(path)))
        assert path.exists()

    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        assert (await method(channel, "Status")()).generation == 3

    talk(test, Address(path=str(path)))


def test_silent_connections_make_room_within_seconds() -> None:
    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        host, _, port = operator.address.rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(2 * MOST_CONNECTIONS)]
        assert (await method(channel, "Status")(wait_for_ready=True)).generation == 3
        for reader, writer in silent:
            with contextlib.suppress(ConnectionResetError):
                await asyncio.wait_for(reader.read(), TIMEOUT)  # until the server has closed it
            writer.close()

    talk(test)


@pytest.mark.parametrize("unix", [False, True], ids=["TCP", "Unix socket"])
@pytest.mark.parametrize("sent", UNENDED.values(), ids=UNENDED)
def test_calls_that_never_end_keep_no_operator_out(tmp_path: Path, sent: bytes, unix: bool) -> None:
    address = Address(path=str(tmp_path / "admin.sock")) if unix else ANYWHERE

    async def test(operator: Played, channel: grpc.aio.Channel) -> None:
        async with crowd(parse_address(operator.address), sent):
            for _ in range(5):
                options = [("grpc.use_local_subchannel_pool", 1)]
                async with grpc.aio.insecure_channel(operator.address, options=options) as another:
                    assert (await method(another, "Status")()).generation == 3
        assert operator.actors == [], "a call without its end has begun"

    talk(test, address)
