"""A log as the libraries of Go's checksum database see it: its checkpoints, tiles, records and proofs."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelward.audit.files import CHECKPOINT, LogReader, LogWriter
from modelward.audit.merkle import consistency_proof, inclusion_proof
from modelward.audit.note import COSIGNATURE, Checkpoint, Signer
from modelward.audit.tiles import ENTRIES, nodes, path

VERIFY = Path(__file__).parents[3] / ".cache" / "tlog" / "verify"
SIGNER = Signer("log.example/modelward", bytes(range(32)))
WITNESS = Signer("witness.example", bytes(32), COSIGNATURE)

pytestmark = pytest.mark.skipif(not VERIFY.exists(), reason="scripts/peers tlog has not built it: Go is not installed")


def log(folder: Path, *sizes: int) -> LogReader:
    """That grew in these steps."""
    writer = LogWriter.open(folder, SIGNER)
    at = 0
    for size in sizes:
        writer.add([b'{"n":%d,"verb":"promote"}' % i for i in range(at, size)])
        at = size
    writer.close()
    return LogReader(folder)


def judged(folder: Path, key: str = str(SIGNER.verifier), **asked: Any) -> subprocess.CompletedProcess[str]:
    command = [str(VERIFY), str(folder), key]
    return subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)


def encoded(hashes: list[bytes]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]


@pytest.mark.parametrize("sizes", [(1,), (2, 255), (256,), (1, 257, 700), (70, 65_793, 66_321)])
def test_it_accepts_checkpoints_tiles_records_and_proofs(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    reader, size = log(tmp_path, *sizes), sizes[-1]
    node = nodes(size, reader.hashes)
    inclusion = [
        {
            "Index": index,
            "Record": base64.b64encode(next(reader.records(index, index + 1))).decode(),
            "Proof": encoded(inclusion_proof(index, size, node)),
        }
        for index in sorted({0, size // 3, size // 2, size - 1})
    ]
    consistency = [
        {
            "Note": (f"{note.text}\n" + "".join(_line(*each) for each in note.signatures)),
            "Proof": encoded(consistency_proof(Checkpoint.parse(note.text).size, size, node)),
        }
        for note in reader.history()
    ]
    assert len(consistency) == len(sizes)
    found = judged(tmp_path, Inclusion=inclusion, Consistency=consistency)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{size}\n", "")


def _line(name: str, signature: bytes) -> str:
    return f"\N{EM DASH} {name} {base64.b64encode(signature).decode()}\n"


def test_it_accepts_a_cosignature(tmp_path: Path) -> None:
    reader = log(tmp_path, 3)
    line = WITNESS.sign(reader.note().text, 1_700_000_000)
    checkpoint = tmp_path / CHECKPOINT
    plain = checkpoint.read_text()
    checkpoint.write_text(plain + line)
    assert judged(tmp_path, Cosigner=str(WITNESS.verifier)).returncode == 0
    other = Signer(WITNESS.name, bytes(range(32)), COSIGNATURE).sign(reader.note().text, 1_700_000_000)
    forged = line.rpartition(" ")[0] + " " + _joined(line, other)
    checkpoint.write_text(plain + forged)
    assert "invalid signature for key witness.example" in judged(tmp_path, Cosigner=str(WITNESS.verifier)).stderr


def _joined(line: str, other: str) -> str:
    """The key id of one signature, and the other signature."""
    first, second = (base64.b64decode(each.rpartition(" ")[2]) for each in (line, other))
    return base64.b64encode(first[:4] + second[4:]).decode() + "\n"


@pytest.mark.parametrize(
    ("name", "at", "told"),
    [
        (CHECKPOINT, 32, "invalid signature"),
        (path(ENTRIES, 0), 10, "record 0 was changed"),
        (path(0, 0), 40, "record 1 was changed"),
        (path(1, 0, 1), 3, "inconsistent"),
    ],
)
def test_it_finds_what_was_changed(tmp_path: Path, name: str, at: int, told: str) -> None:
    log(tmp_path, 300)
    assert judged(tmp_path).returncode == 0
    data = bytearray((tmp_path / name).read_bytes())
    data[at] ^= 1
    (tmp_path / name).write_bytes(data)
    found = judged(tmp_path)
    assert found.returncode == 1
    assert told in found.stderr


def test_it_wants_the_key_of_the_log(tmp_path: Path) -> None:
    log(tmp_path, 3)
    found = judged(tmp_path, str(Signer(SIGNER.name, bytes(32)).verifier))
    assert "no verifiable signatures" in found.stderr
