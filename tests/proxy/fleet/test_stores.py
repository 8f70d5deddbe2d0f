"""What a fleet asks of its store, asked of Valkey, of PostgreSQL and of their twin in memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelward.config.fleet import Fleet
from modelward.fleet import bounded_answers
from modelward.fleet import store as bounds
from modelward.fleet import valkey as valkey_store
from modelward.fleet.opening import open_store, unreachable
from modelward.fleet.store import Document, Seen, Store, StoreError
from tests import postgres
from tests import store as stores
from tests.proxy.fleet.memory_store import MemoryStore

Running = tuple[str, Callable[[], Store], Callable[..., None]]
TIME = {"valkey": "ms", "postgres": "seconds"}


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stores.Store]:
    with stores.running(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


@pytest.fixture(params=["memory", "valkey", "postgres"])
def opened(request: pytest.FixtureRequest) -> Callable[[], Store]:
    """Opens one store as several servers do; each test has a fleet of its own."""
    if request.param == "memory":
        one = MemoryStore()
        return lambda: one
    url = request.getfixturevalue("valkey").url if request.param == "valkey" else ""
    url = url or request.getfixturevalue("database").url()
    name = name_of(request)
    return lambda: open_store(Fleet(url=url, name=name))


def name_of(request: pytest.FixtureRequest) -> str:
    return f"fleet-{abs(hash(request.node.name))}"


def ask(opened: Callable[[], Store], work: Callable[..., Awaitable[None]], servers: int = 1) -> None:
    async def run() -> None:
        each = [opened() for _ in range(servers)]
        try:
            await work(*each)
        finally:
            for store in each:
                await store.close()

    asyncio.run(run())


def spoken(store: Store, replica: str = "a", revision: str = "", **values: Any) -> Awaitable[Seen]:
    given = {"identity": f"{replica}/1", "note": b"hello", "evidence": b"", "may_lead": True, **values}
    return store.exchange(replica, revision=revision, **given)


def test_a_document_is_changed_only_by_who_has_seen_it(opened: Callable[[], Store]) -> None:
    async def work(one: Store, other: Store) -> None:
        await spoken(one)
        assert await one.swap("model/m", 0, 1, b"first") is None
        assert await other.swap("model/m", 0, 1, b"second") == Document(1, b"first")
        assert await other.swap("model/m", 1, 2, b"\0second\xff") is None
        assert await one.swap("model/m", 1, 2, b"third") == Document(2, b"\0second\xff")
        assert (await other.swap("model/n", 4, 5, b"of nothing")) == Document(0, b"")

    ask(opened, work, 2)


def test_documents_are_told_where_they_have_changed_since_the_revision(opened: Callable[[], Store]) -> None:
    async def work(one: Store, other: Store) -> None:
        first = await spoken(one)
        assert first.documents == {}
        assert (await spoken(one, revision=first.revision)).documents is None
        await other.swap("model/m", 0, 7, b"data")
        seen = await spoken(one, revision=first.revision)
        assert seen.documents == {"model/m": Document(7, b"data")}
        assert seen.revision != first.revision

    ask(opened, work, 2)


def test_one_server_leads_until_it_may_not_or_leaves(opened: Callable[[], Store]) -> None:
    async def work(one: Store, other: Store) -> None:
        assert (await spoken(one, "a")).leader == "a/1"
        assert (await spoken(other, "b")).leader == "a/1"
        assert (await spoken(one, "a", may_lead=False)).leader == ""
        assert (await spoken(other, "b")).leader == "b/1"
        await other.leave("b", "b/1")
        assert (await spoken(one, "a")).leader == "a/1"
        assert (await one.notes()).keys() == {"a"}

    ask(opened, work, 2)


def test_what_servers_say_is_told_with_its_age(opened: Callable[[], Store]) -> None:
    async def work(one: Store, other: Store) -> None:
        await spoken(one, "a", note=b"\0a", evidence=b"\xffcounts")
        await spoken(other, "b", note=b"b")
        notes = await one.notes()
        assert {replica: each.data for replica, each in notes.items()} == {"a": b"\0a", "b": b"b"}
        assert all(0 <= each.age < 30 for each in notes.values())
        assert {replica: each.data for replica, each in (await other.evidence()).items()} == {"a": b"\xffcounts"}
        await spoken(one, "a", evidence=b"")
        assert await other.evidence() == {}

    ask(opened, work, 2)


def test_a_server_hears_what_was_said_under_its_name_before(opened: Callable[[], Store]) -> None:
    async def work(one: Store, other: Store) -> None:
        assert (await spoken(one, "a", note=b"\0first\xff")).said == b""
        seen = await spoken(one, "a", note=b"second")
        assert seen.said == b"\0first\xff"
        assert (await spoken(other, "a", note=b"another's", revision=seen.revision)).said == b"second"
        assert (await spoken(other, "b", revision=seen.revision)).said == b""
        await other.leave("a", "a/1")
        assert (await spoken(one, "a")).said == b""

    ask(opened, work, 2)


def test_servers_beyond_the_bound_are_not_listed_and_follow_all_the_same(
    opened: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> None:
        for number in range(bounds.MOST_REPLICAS + 3):
            seen = await spoken(store, f"r{number}", may_lead=False)
            assert seen.documents == {}
        assert len(await store.notes()) == bounds.MOST_REPLICAS

    ask(opened, work)


def fill(request: pytest.FixtureRequest, opened: Callable[[], Store]) -> list[str]:
    """Documents of twice what is told at once: their names."""
    count = 2 * bounds.MOST_TOLD // bounds.LARGEST_DOCUMENT
    names = [f"a{number}" for number in range(count)]

    async def work(store: Store) -> None:
        await spoken(store)
        for name in names if "postgres" not in request.node.name else ():
            assert await store.swap(name, 0, 1, b"x" * bounds.LARGEST_DOCUMENT) is None

    ask(opened, work)
    if "postgres" in request.node.name:  # each swap is a commit
        request.getfixturevalue("database").execute(
            "INSERT INTO modelward_fleet.documents SELECT fleet, 'a' || number, 1, decode(repeat('00', 65536), 'hex')"
            f" FROM modelward_fleet.fleets, generate_series(0, {count - 1}) AS number"
            f" WHERE fleet = '{name_of(request)}'"
        )
    return names


def test_what_is_told_at_once_is_bounded_and_documents_that_were_asked_for_come_first(
    request: pytest.FixtureRequest, opened: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valkey_store, "TIMEOUT_SECONDS", 20.0)  # the machine may be busy
    names = fill(request, opened)

    async def work(store: Store) -> None:
        assert await store.swap("model/m", 0, 7, b"mine") is None
        seen = await spoken(store, names=["model/m", "model/none", "model/m"])
        assert seen.documents is not None
        assert seen.documents["model/m"] == Document(7, b"mine")
        assert "model/none" not in seen.documents
        assert size_of(seen) <= bounds.MOST_TOLD + bounds.LARGEST_DOCUMENT
        seen = await spoken(store, names=names)
        assert seen.documents is not None
        assert seen.documents.keys() >= set(names), "of each it is told that it is there"
        assert all(each.epoch == 1 for name, each in seen.documents.items() if name in names)
        assert size_of(seen) <= bounds.MOST_TOLD + bounds.LARGEST_DOCUMENT

    ask(opened, work)


def size_of(seen: Seen) -> int:
    return sum(len(each.data) for each in (seen.documents or {}).values())


def test_what_others_say_at_once_is_bounded(opened: Callable[[], Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey_store, "TIMEOUT_SECONDS", 20.0)

    async def work(store: Store) -> None:
        for number in range(bounds.MOST_COUNTED // bounds.LARGEST_EVIDENCE + 3):
            await spoken(store, f"r{number}", evidence=b"x" * bounds.LARGEST_EVIDENCE, may_lead=False)
        size = sum(len(each.data) for each in (await store.evidence()).values())
        assert bounds.MOST_COUNTED - bounds.LARGEST_EVIDENCE <= size <= bounds.MOST_COUNTED

    ask(opened, work)


# ---- what strangers write, and outages


@pytest.mark.parametrize(
    "value", ["", "x", "no number", "99999999999999999999999999 {}", "-1 {}", "\0", "7 " + "x" * (1 << 20)]
)
def test_what_others_wrote_into_valkey_is_no_document_and_can_be_replaced(valkey: stores.Store, value: str) -> None:
    from redis import Redis  # noqa: PLC0415 - an extra

    client = Redis.from_url(valkey.url)
    client.flushall()

    async def work(store: Store) -> None:
        client.hset("{modelward}:fleet:documents", "model/m", value)
        client.hset("{modelward}:fleet:notes", "evil", value)
        client.set("{modelward}:fleet:revision", "evil")
        seen = await spoken(store)
        assert seen.documents is not None
        there = seen.documents["model/m"]
        assert len(there.data) <= bounds.LARGEST_DOCUMENT
        assert (await store.notes()).keys() == {"a"}, "it is forgotten"
        assert await store.swap("model/m", there.epoch, there.epoch + 1, b"good") is None

    ask(lambda: open_store(Fleet(url=valkey.url)), work)
    client.close()


def test_keys_of_another_kind_in_valkey_are_an_error_of_the_store(valkey: stores.Store) -> None:
    from redis import Redis  # noqa: PLC0415

    client = Redis.from_url(valkey.url)
    client.flushall()
    client.set("{modelward}:fleet:documents", "no hash")

    async def work(store: Store) -> None:
        with pytest.raises(StoreError):
            await spoken(store)
        client.flushall()
        assert (await spoken(store)).documents == {}

    ask(lambda: open_store(Fleet(url=valkey.url)), work)
    client.close()


def test_a_store_that_is_not_there_or_silent_is_an_error_in_time(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        for url in (f"redis://127.0.0.1:{port}/0", f"unix://{tmp_path}/none", f"postgresql:///x?host={tmp_path}"):
            problem = asyncio.run(unreachable(Fleet(url=url)))
            assert problem is not None
            assert problem.what.partition(" cannot be reached: ")[2].strip(), "why is said"


class Garbage:
    """A store that answers everything with the same bytes. goes_on: what it sends after these, for ever."""

    def __init__(self, answer: bytes, goes_on: bytes = b"") -> None:
        self._answer, self._goes_on = answer, goes_on
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                threading.Thread(target=self._answer_all, args=(connection,), daemon=True).start()

    def _answer_all(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while connection.recv(1 << 16):
                connection.sendall(self._answer)
                while self._goes_on:
                    connection.sendall(self._goes_on)


@pytest.mark.parametrize(
    "answer",
    [b"*1\r\n" * 50_000, b":" + b"9" * 5000 + b"\r\n", b"+OK\r\n" * 10, b"\0\xff\r\n", b"-\r\n",
     b"*3\r\n$1\r\na\r\n$5000\r\n" + b"9" * 5000 + b"\r\n$1\r\nx\r\n"],
)  # fmt: skip
def test_answers_of_garbage_are_an_error_of_the_store_in_a_line(answer: bytes) -> None:
    async def work(store: Store) -> None:
        for call in (lambda: spoken(store), store.notes, lambda: store.swap("model/m", 0, 1, b"first")):
            with pytest.raises(StoreError) as raised:
                await call()
            assert 0 < len(str(raised.value)) <= bounds.LONGEST_WHY
            assert "\n" not in str(raised.value)

    with contextlib.closing(Garbage(answer)) as garbage:
        ask(lambda: open_store(Fleet(url=garbage.url)), work)


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"$4000000000\r\n", b"x" * (1 << 16)),
        (b"*100000000\r\n", b"$1\r\nx\r\n" * 10_000),
        (b"$6000000\r\n", b"x" * (1 << 20)),
    ],
    ids=["one without end", "many", "one that ends"],
)
def test_of_an_answer_without_end_no_more_is_read_than_a_bound(
    begins: bytes, goes_on: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_answers, "MOST_ANSWER", 1 << 20)
    monkeypatch.setattr(valkey_store, "TIMEOUT_SECONDS", 20.0)

    async def work(store: Store) -> None:
        with pytest.raises(StoreError, match="its answer has more than 1 MiB"):
            await spoken(store)

    with contextlib.closing(Garbage(begins, goes_on)) as garbage:
        ask(lambda: open_store(Fleet(url=garbage.url)), work)


def test_a_store_that_hangs_says_that_there_was_no_answer_in_time() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        problem = asyncio.run(unreachable(Fleet(url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")))
        assert problem is not None
        assert problem.what.endswith("cannot be reached: no answer in time")


FOREIGN = bounds.MOST_DOCUMENTS + 1


async def is_taken_and_told_first(store: Store) -> None:
    assert await store.swap("model/m", 0, 1, b"rolled back") is None
    assert await store.swap("model/m", 1, 2, b"rolled back again") is None
    told = (await spoken(store, names=["model/m"])).documents
    assert told is not None and told["model/m"] == Document(2, b"rolled back again")
    assert len(told) <= FOREIGN


def test_documents_that_others_have_put_there_keep_none_of_a_server_out_of_valkey(valkey: stores.Store) -> None:
    from redis import Redis  # noqa: PLC0415

    with contextlib.closing(Redis.from_url(valkey.url)) as client:
        client.hset("{full}:fleet:documents", mapping={f"foreign/{number}": "1 x" for number in range(FOREIGN)})
    ask(lambda: open_store(Fleet(url=valkey.url, name="full")), is_taken_and_told_first)


def test_documents_that_others_have_put_there_keep_none_of_a_server_out_of_a_database(
    database: postgres.Server,
) -> None:
    async def work(store: Store) -> None:
        await spoken(store)
        foreign = f"SELECT 'full', 'foreign/' || n, 1, 'x'::bytea FROM generate_series(1, {FOREIGN}) AS n"
        database.execute(f"INSERT INTO modelward_fleet.documents (fleet, name, epoch, data) {foreign}")
        await is_taken_and_told_first(store)

    ask(lambda: open_store(Fleet(url=database.url(), name="full")), work)


def test_a_lease_without_an_end_in_valkey_gets_one_and_is_told(valkey: stores.Store) -> None:
    from redis import Redis  # noqa: PLC0415

    client = Redis.from_url(valkey.url)
    client.flushall()

    async def work(store: Store) -> None:
        for longest in (None, 3600):
            client.set("{modelward}:fleet:leader", "nobody", ex=longest)
            seen = await spoken(store)
            assert (seen.leader, seen.endless) == ("nobody", True)
            assert 0 < client.pttl("{modelward}:fleet:leader") <= 1000 * bounds.LEASE_SECONDS
            assert not (await spoken(store)).endless

    ask(lambda: open_store(Fleet(url=valkey.url)), work)
    client.close()


def test_a_lease_without_an_end_in_a_database_gets_one_and_is_told(database: postgres.Server) -> None:
    async def work(store: Store) -> None:
        await spoken(store, may_lead=False)
        database.execute(
            "UPDATE modelward_fleet.fleets SET leader = 'nobody', until = 'infinity' WHERE fleet = 'endless'"
        )
        assert (await spoken(store)).endless
        left = (
            "SELECT extract(epoch FROM until - clock_timestamp()) FROM modelward_fleet.fleets WHERE fleet = 'endless'"
        )
        assert float(database.execute(left)[0][0]) <= bounds.LEASE_SECONDS
        assert not (await spoken(store)).endless

    ask(lambda: open_store(Fleet(url=database.url(), name="endless")), work)


def test_a_server_that_was_seen_at_no_time_is_forgotten(database: postgres.Server) -> None:
    async def work(store: Store) -> None:
        await spoken(store, "a")
        for at in ("infinity", "-infinity", "2999-01-01"):
            database.execute(
                "INSERT INTO modelward_fleet.servers VALUES ('seen', 'evil', %s::timestamptz, 'x', 'x')", at
            )
            assert (await store.notes()).keys() == {"a"}

    ask(lambda: open_store(Fleet(url=database.url(), name="seen")), work)


def test_a_revision_and_a_leader_without_end_are_cut(valkey: stores.Store, database: postgres.Server) -> None:
    from redis import Redis  # noqa: PLC0415

    client = Redis.from_url(valkey.url)
    client.flushall()

    async def work(store: Store) -> None:
        await spoken(store)
        client.set("{modelward}:fleet:revision", "x" * (1 << 20))
        client.set("{modelward}:fleet:leader", "x" * (1 << 20), px=2000)
        database.execute("UPDATE modelward_fleet.fleets SET revision = repeat('x', 1 << 20), leader = revision")
        database.execute("UPDATE modelward_fleet.fleets SET leader = repeat('x', 1 << 20), until = now() + '2 s'")
        seen = await spoken(store)
        assert len(seen.leader) == bounds.LONGEST_WORD
        assert 0 < len(seen.revision) <= bounds.LONGEST_WORD

    ask(lambda: open_store(Fleet(url=database.url())), work)
    ask(lambda: open_store(Fleet(url=valkey.url)), work)
    client.close()


def test_a_database_that_has_lost_everything_is_begun_again(database: postgres.Server) -> None:
    async def work(store: Store) -> None:
        await spoken(store)
        assert await store.swap("model/m", 0, 1, b"first") is None
        database.execute("DROP SCHEMA modelward_fleet CASCADE")
        with pytest.raises(StoreError):
            await spoken(store)
        assert (await spoken(store)).documents == {}
        database.execute("UPDATE modelward_fleet.fleets SET leader = repeat('x', 100000), until = 'infinity'")
        assert (await spoken(store)).leader != "a/1"
        database.execute("DELETE FROM modelward_fleet.fleets")
        with pytest.raises(StoreError):
            await spoken(store)
        assert (await spoken(store)).leader == "a/1"

    ask(lambda: open_store(Fleet(url=database.url())), work)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://:secret@store:6379/2", "redis://store:6379/2"),
        ("postgresql://modelward@db.example/fleet?sslmode=require", "postgresql://db.example/fleet"),
    ],
)
def test_what_is_secret_of_a_url_is_not_shown(url: str, where: str) -> None:
    settings = Fleet.model_validate(url)
    assert settings.where == where
    assert "secret" not in settings.model_dump_json()
