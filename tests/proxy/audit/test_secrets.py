"""No password, token or key that stores and witnesses of the log use is in a record, a log line or a problem."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from modelward.audit.opening import open_reader, open_trail, open_witnesses
from modelward.audit.record import Actor, human
from modelward.audit.recorder import NotRecorded
from modelward.config.schema import Config
from tests import postgres

PASSWORD, TOKEN = "correct-horse-battery", "tok3n-of-the-witness"
PATH, QUERY = "T0pathOfTheWebhook", "k3yOfTheQuery"
ALICE = Actor(name="alice", proof="certificate")


@pytest.fixture(scope="module")
def secured():
    """A role that has to give a password."""
    with postgres.running() as server:
        server.execute(f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'; GRANT CREATE ON DATABASE postgres TO guarded")
        (shown,) = server.execute("SHOW hba_file")
        rules = Path(shown[0])
        rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")
        server.execute("SELECT pg_reload_conf()")
        yield server


async def used(config: Config, said: list[str]) -> bool:
    """Whether a record was confirmed; with all that was said meanwhile."""
    assert config.audit is not None
    trail = open_trail(config.audit, config)
    await trail.start()
    witnesses = open_witnesses(config.audit, config.state, trail)
    witnesses.start()
    try:
        await trail.confirm(human("promote", ALICE, result="asked", model="fraud"))
        confirmed = True
    except NotRecorded as found:
        said += [str(found), repr(found.problems)]
        confirmed = False
    count = len(config.audit.witnesses)
    async with asyncio.timeout(30):
        while witnesses.words.count("is not told") < count:
            await asyncio.sleep(0.01)
    said += [trail.words, witnesses.words, repr(trail.stats()), repr(witnesses.sizes())]
    await witnesses.stop()
    await trail.stop()
    return confirmed


@pytest.mark.parametrize("right", [True, False])
def test_no_secret_of_a_store_or_a_witness_is_told(
    secured: postgres.Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, right: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = f"{PASSWORD}-of-old"
    (tmp_path / "password").write_text(PASSWORD if right else wrong)
    (tmp_path / "token").write_text(TOKEN)
    audit = {
        "folder": str(tmp_path / "audit"),
        "name": f"here-{right}",
        "postgres": {"url": secured.url(user="guarded"), "password_file": str(tmp_path / "password")},
        # nothing listens there
        "witnesses": [
            {"webhook": f"http://127.0.0.1:9/services/{PATH}?key={QUERY}", "token_file": str(tmp_path / "token")}
        ],
    }
    config = Config.model_validate({"audit": audit})
    said: list[str] = []
    assert asyncio.run(used(config, said)) == right
    assert config.audit is not None
    if right:
        reader, _ = open_reader(config.audit, None)
        said += [record.decode() for record in reader.records(0, 1)]
        assert '"fraud"' in said[-1]
    else:
        assert "password authentication failed" in " ".join(said)
    private = (tmp_path / "audit" / "key").read_text().strip()
    everything = " ".join([*said, caplog.text, repr(config), config.model_dump_json()])
    assert caplog.records
    # PRIVATE+KEY+name+number+base64, where base64 may hold a + too
    encoded = private.split("+", 4)[4]
    assert len(encoded) > 40
    for secret in (PASSWORD, TOKEN, PATH, QUERY, private, encoded):
        assert secret not in everything


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 404 %s\r\nContent-Length: %d\r\n\r\n%s is unknown", b"%s\r\n%d\r\n\r\n%s"]
)
def test_no_answer_of_a_webhook_brings_its_path_into_what_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1]
        writer.write(answer % (path, len(path) + 11, path))
        writer.close()

    async def used_with_it() -> str:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        hooks = [{"webhook": f"{url}/{PATH}/{i}"} for i in range(2)]
        config = Config.model_validate({"audit": {"folder": str(tmp_path / "audit"), "witnesses": hooks}})
        assert await used(config, said)
        server.close()
        return url

    said: list[str] = []
    url = asyncio.run(used_with_it())
    everything = " ".join([*said, caplog.text])
    assert f"witness {url} (1): it is not told" in caplog.text
    assert f"'{url} (2)': 0" in said[-1]
    assert PATH not in everything
