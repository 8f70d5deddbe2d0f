"""A server that is killed while people ask: what was confirmed is in the log once, and the log goes on."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from modelward.audit.files import LogReader, LogWriter
from modelward.audit.note import Signer
from modelward.audit.record import Actor, automatic, human
from modelward.audit.trail import Trail
from modelward.audit.verify import verify

KILLS = 3  # loadtests/audit_kills.py kills a whole server 200 times
ASKING = 16
SIGNER = Signer("log.example", bytes(range(32)))


async def ask(folder: Path, began: str) -> None:
    """Until killed: prints what was confirmed, a number and a reason in each line."""
    trail = Trail(lambda mishap: LogWriter.open(folder, SIGNER, mishap), str(folder))
    await trail.start()

    async def one(person: int) -> None:
        for i in range(1_000_000):
            reason = f"{began}.{person}.{i}"
            trail.note(automatic("breaker.opened"))
            number = await trail.confirm(human("reload", Actor(name="alice"), reason=reason))
            print(number, reason, flush=True)

    await asyncio.gather(*map(one, range(ASKING)))


def test_what_was_confirmed_is_there_once_however_often_the_server_is_killed(tmp_path: Path) -> None:
    rng, told = random.Random(13), dict[str, int]()
    for kill in range(KILLS):
        command = [sys.executable, "-m", "tests.proxy.audit.test_kills", tmp_path / "log", str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(rng.randrange(1, 200))]
            process.kill()
            lines += process.stdout.readlines()
        for number, reason in (line.split() for line in lines if line.endswith("\n")):
            told[reason] = int(number)
    reader = LogReader(tmp_path / "log")
    found = verify(reader, SIGNER.verifier)
    assert found.findings == ()
    assert found.checkpoint is not None
    records = [json.loads(each) for each in reader.records(0, found.checkpoint.size)]
    by_reason = {record["reason"]: record["n"] for record in records if record["verb"] == "reload"}
    counts = Counter(record["reason"] for record in records if record["verb"] == "reload")
    assert len(told) > 10 * KILLS
    assert {reason: by_reason.get(reason) for reason in told} == told
    assert set(counts.values()) == {1}


if __name__ == "__main__":
    asyncio.run(ask(Path(sys.argv[1]), sys.argv[2]))
