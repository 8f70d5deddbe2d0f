"""Limits that servers share: what the configuration says, and what the store does, against its slow twin."""

from __future__ import annotations

import asyncio
import logging
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from modelward.config.changes import followed
from modelward.config.load import load
from modelward.config.rate_limit import Shared
from modelward.config.schema import Config
from modelward.limits.shared import SharedLimits, Store, StoreError, missing, shared_hash_key, unreachable
from modelward.problem import ProblemsFound
from modelward_native.region.region import Region
from modelward_native.testing.limits import Limiter
from tests import store as stores
from tests.oracle.shared_store import Store as Twin

SECOND = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[stores.Store]:
    with stores.running(tmp_path) as running:
        yield running


# ---- the configuration


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:secret@store:6379/2", "redis://store:6379/2"),
        ("rediss://user:secret@[fd00::1]:6380", "rediss://[fd00::1]:6380"),
        ("unix:///run/valkey.sock?db=3&password=secret", "unix:///run/valkey.sock"),
    ],
)
def test_a_url_alone_is_enough_and_its_password_is_never_shown(url: str, where: str) -> None:
    limits = Config.model_validate({"limits": {"shared": url}}).limits
    assert limits.shared is not None and limits.shared.where == where
    assert limits.shared.url == url
    assert "secret" not in limits.model_dump_json()


@pytest.mark.parametrize(
    ("written", "finding"),
    [
        ("http://store:1", "no URL of a Redis or Valkey"),
        ("redis://:hush@", "no URL of a Redis or Valkey"),
        ("unix://", "no URL of a Redis or Valkey"),
        ("redis://store:hush", "this is no URL"),
        ({"url": "redis://:hush@store", "password_file": "p"}, "password_file is set and the URL holds a password"),
        ({"url": "redis://store", "interval": "1ms"}, "greater than or equal to"),
    ],
)
def test_what_is_no_store_is_refused_without_telling_its_password(written: object, finding: str) -> None:
    with pytest.raises(ProblemsFound) as raised:
        load(sets=[f"limits.shared={written}"], environ={})
    assert finding in str(raised.value)
    assert "hush" not in "".join(problem.what + problem.why + problem.how for problem in raised.value.problems)


def test_it_stays_as_it_is_until_a_restart(tmp_path: Path) -> None:
    now = load(sets=["limits.shared=redis://a:1"], environ={})
    wanted = load(sets=["limits.shared=redis://b:1", "limits.total={rate: 5/s}"], environ={})
    config, restart = followed(now, wanted)
    assert config.limits.shared == now.limits.shared
    assert config.limits.total == wanted.limits.total
    assert restart == ["limits.shared.url"]


def test_without_its_package_serving_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing() is None
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ProblemsFound, match="pip install 'modelward\\[redis\\]'"):
        asyncio.run(shared_limits(Shared(url="redis://127.0.0.1:1"))[1].start())


# ---- the script


def test_the_script_says_what_its_twin_says(store: stores.Store) -> None:
    """Within what the clock goes on meanwhile: reports of seconds, a store that answers in milliseconds."""

    async def converse() -> None:
        reached, twin = Store(Shared(url=store.url)), Twin()
        reports = [
            (5 * SECOND, 0.5, 100 * SECOND),
            (0, 1.25, 100 * SECOND),
            (200 * SECOND, -0.75, 100 * SECOND),
            (-3 * SECOND, 0.0, 100 * SECOND),
            (0, -9.0, 100 * SECOND),
            (0, 0.0, 1 * SECOND),
        ]
        began = time.monotonic()
        for spent, changed, most in reports:
            elapsed = SECOND // 2
            ((ahead, demand),) = await reached.exchange(elapsed, {"a cell": (spent, changed, most)})
            expected = twin.exchange("a cell", (spent, changed, most), elapsed, time.monotonic_ns())
            took = time.monotonic() - began
            assert ahead == pytest.approx(expected[0], abs=took * SECOND)
            assert demand == pytest.approx(expected[1], abs=2 * took + 1e-6)
        await reached.close()

    asyncio.run(converse())


def test_a_clock_that_goes_back_leaves_debts_as_long_as_they_were(store: stores.Store) -> None:
    """A cell as one would have left it whose clock was a day ahead."""

    async def converse() -> None:
        client, reached = Redis.from_url(store.url), Store(Shared(url=store.url))
        seconds, microseconds = await client.time()
        later = (seconds + 86_400) * 1e6 + microseconds
        await client.set("cell", struct.pack("<ddd", later + 2e6, 1.0, later))
        ((ahead, _),) = await reached.exchange(SECOND // 10, {"cell": (0, 0.0, 1000 * SECOND)})
        assert 0 < ahead <= 2 * SECOND
        assert 10_000 < await client.pttl("cell") <= 12_000
        await reached.close()
        await client.aclose()

    asyncio.run(converse())


def test_what_a_stranger_wrote_into_a_cell_is_bounded_or_no_cell(store: stores.Store) -> None:
    async def converse() -> None:
        reached = Store(Shared(url=store.url))
        async with Redis.from_url(store.url) as client:
            for written in (
                b"",
                b"nonsense",
                b"\xff" * 24,
                struct.pack("<ddd", 1e300, 1e300, 0),
                struct.pack("<ddd", -1e300, -5, 9e18),
            ):
                await client.set("cell", written)
                ((ahead, demand),) = await reached.exchange(0, {"cell": (5 * SECOND, 1.0, 10 * SECOND)})
                assert -(2**61) <= ahead <= 10 * SECOND
                assert not demand < 0
        await reached.close()

    asyncio.run(converse())


def test_a_store_that_is_flushed_is_told_the_script_again(store: stores.Store) -> None:
    async def converse() -> None:
        reached = Store(Shared(url=store.url))
        assert await reached.exchange(0, {}) == []
        async with Redis.from_url(store.url) as client:
            await client.script_flush()
        assert await reached.exchange(0, {}) == []
        await reached.close()

    asyncio.run(converse())


# ---- the task


def shared_limits(settings: Shared) -> tuple[Limiter, SharedLimits]:
    region = Region()
    limiter = Limiter(region=region)
    limiter.share(shared_hash_key(settings))
    return limiter, SharedLimits(settings, region)


def test_a_store_that_is_gone_or_frozen_is_said_once_and_once_that_it_is_back(
    store: stores.Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "modelward.limits")

    async def up(limits: SharedLimits, wanted: int) -> None:
        async with asyncio.timeout(30):
            while limits.stats().up != wanted:
                await asyncio.sleep(0.01)

    async def live() -> None:
        _, limits = shared_limits(Shared(url=store.url))
        await limits.start()
        assert limits.stats().up == 1
        store.freeze()
        await up(limits, 0)
        store.thaw()
        await up(limits, 1)
        store.kill()
        await up(limits, 0)
        store.start()
        await up(limits, 1)
        figures = limits.stats()
        await limits.stop()
        assert figures.syncs["failed"] >= 2
        assert figures.seconds is not None and figures.seconds.cumulative[-1] == figures.syncs["ok"]

    asyncio.run(live())
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    # a busy machine may lose it once more: each time it is said once, and once that it is back
    assert len(told) >= 4
    assert [level for level, _ in told] == ["ERROR", "INFO"] * (len(told) // 2)
    assert "cannot be reached: no answer within 250 ms; identity, model and total limits hold in each" in told[0][1]
    assert "is back" in told[1][1]


def test_a_password_is_read_from_its_file_each_time_and_a_wrong_one_is_said(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    with stores.running(tmp_path, tcp=True, password="hush") as store:
        url = store.url.replace(":hush@", "")
        settings = Shared(url=url, password_file=secret)
        why = asyncio.run(unreachable(settings))
        assert why is not None and "No such file" in str(why)
        secret.write_text("wrong\n")
        why = asyncio.run(unreachable(settings))
        assert why is not None and "invalid username-password pair" in str(why)
        secret.write_text("hush\n")
        assert asyncio.run(unreachable(settings)) is None
        assert asyncio.run(unreachable(Shared(url=store.url))) is None


def test_a_server_that_is_no_store_is_said() -> None:
    async def ask() -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(1000):
                writer.write(b"+HELLO\r\n")

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            reached = Store(Shared(url=f"redis://127.0.0.1:{port}"))
            with pytest.raises(StoreError, match="none of this program's script"):
                await reached.exchange(0, {"a": (0, 0.0, 0)})

    asyncio.run(ask())


def test_two_groups_of_servers_in_one_store_have_nothing_in_common(store: stores.Store) -> None:
    async def live() -> None:
        one, other = (shared_limits(Shared(url=store.url, prefix=prefix)) for prefix in ("one", "other"))
        for limiter, limits in (one, other):
            limiter.set_identity(0.01, 5)
            await limits.start()
        for limiter, _ in (one, other):
            for _ in range(5):
                assert limiter.request(time.monotonic_ns(), b"p", b"alice") is None
        for _, limits in (one, other):
            before = limits.stats().syncs["ok"]
            while limits.stats().syncs["ok"] == before:
                await asyncio.sleep(0.01)
        for limiter, limits in (one, other):
            refused = limiter.request(time.monotonic_ns(), b"p", b"alice")
            assert refused is not None and refused[1] is not None and refused[1] < 100 * SECOND  # five, not ten
            await limits.stop()

    asyncio.run(live())
