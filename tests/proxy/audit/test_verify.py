"""Whatever is changed in a log is found, and the first place is named."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from modelward.audit.files import CHECKPOINT, HISTORY, LogReader, LogWriter
from modelward.audit.merkle import leaf_hash
from modelward.audit.note import Checkpoint, Note, Signer, stamped
from modelward.audit.tiles import ENTRIES, HASH, TILE, Edge, pack, path
from modelward.audit.verify import Finding, verify

SIGNER = Signer("log.example", bytes(range(32)))
SIZE = 700
EDITS = 1000


def record(number: int, what: str = "promote") -> bytes:
    return b'{"n":%d,"what":"%s"}' % (number, what.encode())


RECORDS = [record(i) for i in range(SIZE)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of SIZE records that grew in steps of 100."""
    folder = tmp_path_factory.mktemp("whole") / "log"
    log = LogWriter.open(folder, SIGNER)
    for at in range(0, SIZE, 100):
        log.add(RECORDS[at : at + 100])
    log.close()
    return folder


def file_of(log: Path, level: int | str, index: int) -> Path:
    return log / path(level, index, min(TILE, SIZE - index * TILE))


def rewrite(log: Path, records: list[bytes], first: int, *, hashes: bool) -> None:
    """Puts records in the place of those from `first` on. hashes: those of level 0 too."""
    for index in range(first // TILE, -(-SIZE // TILE)):
        part = records[index * TILE : min(SIZE, (index + 1) * TILE)]
        file_of(log, ENTRIES, index).write_bytes(pack(part))
        if hashes:
            file_of(log, 0, index).write_bytes(b"".join(map(leaf_hash, part)))


def flip_bit_of_record(log: Path, rng: random.Random) -> tuple[int, int]:
    number = rng.randrange(SIZE)
    records = list(RECORDS)
    at = rng.randrange(len(records[number]))
    data = bytearray(records[number])
    data[at] ^= 1 << rng.randrange(8)
    records[number] = bytes(data)
    rewrite(log, records, number, hashes=False)
    return number, number


def flip_bit_of_hash(log: Path, rng: random.Random) -> tuple[int, int]:
    number = rng.randrange(SIZE)
    file = file_of(log, 0, number // TILE)
    data = bytearray(file.read_bytes())
    data[number % TILE * HASH + rng.randrange(HASH)] ^= 1 << rng.randrange(8)
    file.write_bytes(data)
    return number, number


def flip_bit_of_upper_hash(log: Path, rng: random.Random) -> tuple[int, int]:
    file = log / path(1, 0, SIZE // TILE)
    data = bytearray(file.read_bytes())
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    file.write_bytes(data)
    first = at // HASH * TILE
    return first, first


def replace_record(log: Path, rng: random.Random) -> tuple[int, int]:
    """With its hash: only checkpoints tell."""
    number = rng.randrange(SIZE)
    records = list(RECORDS)
    records[number] = record(number, "rollback")
    rewrite(log, records, number, hashes=True)
    return number // 100 * 100, number


def remove_record(log: Path, rng: random.Random) -> tuple[int, int]:
    number = rng.randrange(SIZE - 1)
    records = RECORDS[:number] + RECORDS[number + 1 :] + [record(SIZE)]
    rewrite(log, records, number, hashes=rng.random() < 0.5)
    return number, number


def add_record(log: Path, rng: random.Random) -> tuple[int, int]:
    number = rng.randrange(SIZE - 1)
    records = [*RECORDS[:number], record(number, "added"), *RECORDS[number:]][:SIZE]
    rewrite(log, records, number, hashes=False)
    return number, number


def swap_records(log: Path, rng: random.Random) -> tuple[int, int]:
    first, second = sorted(rng.sample(range(SIZE), 2))
    records = list(RECORDS)
    records[first], records[second] = records[second], records[first]
    rewrite(log, records, first, hashes=rng.random() < 0.5)
    return first, first


def remove_file(log: Path, rng: random.Random) -> tuple[int, int]:
    index = rng.randrange(-(-SIZE // TILE))
    file_of(log, rng.choice([0, ENTRIES]), index).unlink()
    return index * TILE, index * TILE


def cut_file(log: Path, rng: random.Random) -> tuple[int, int]:
    index = rng.randrange(-(-SIZE // TILE))
    file = file_of(log, ENTRIES, index)
    data = file.read_bytes()
    file.write_bytes(data[: rng.randrange(len(data))])
    return index * TILE, index * TILE


def cut_off(log: Path, rng: random.Random) -> tuple[int, int]:
    """Back to an earlier checkpoint, which is truly signed."""
    notes = [json.loads(line)["note"] for line in (log / HISTORY).read_text().splitlines()]
    keep = rng.randrange(1, len(notes))
    (log / CHECKPOINT).write_text(notes[keep - 1])
    (log / HISTORY).write_text("".join(json.dumps({"note": note}) + "\n" for note in notes[:keep]))
    return -1, -1


def forge_checkpoint(log: Path, rng: random.Random) -> tuple[int, int]:
    """Of a log that was rewritten, signed with another key of the same name."""
    records = [record(i, "forged") for i in range(SIZE)]
    rewrite(log, records, 0, hashes=True)
    edge = Edge()
    for each in records:
        edge.append(leaf_hash(each))
    forger = Signer(SIGNER.name, rng.randbytes(32))
    (log / CHECKPOINT).write_bytes(stamped(Checkpoint(SIGNER.name, SIZE, edge.root()), forger, 0))
    return -1, -1


def change_checkpoint(log: Path, rng: random.Random) -> tuple[int, int]:
    data = bytearray((log / CHECKPOINT).read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    (log / CHECKPOINT).write_bytes(data)
    return -1, -1


Edit = Callable[[Path, random.Random], tuple[int, int]]
"""Changes a log. Returns between which records the first that is named may lie, -1 where it concerns no record."""

ALL: list[Edit] = [
    flip_bit_of_record,
    flip_bit_of_hash,
    flip_bit_of_upper_hash,
    replace_record,
    remove_record,
    add_record,
    swap_records,
    remove_file,
    cut_file,
    cut_off,
    forge_checkpoint,
    change_checkpoint,
]


def test_a_log_that_nothing_has_happened_to_is_whole(whole: Path) -> None:
    found = verify(LogReader(whole), SIGNER.verifier)
    assert found.whole
    assert (found.records, found.checkpoint) == (SIZE, Checkpoint.parse(LogReader(whole).note().text))


def test_each_of_a_thousand_changes_is_found_and_the_first_place_named(tmp_path: Path, whole: Path) -> None:
    remembered = (Checkpoint.parse(LogReader(whole).note().text),)
    log = tmp_path / "log"
    shutil.copytree(whole, log)
    saved = {file: file.read_bytes() for file in log.rglob("*") if file.is_file()}
    for seed in range(EDITS):
        edit = ALL[seed % len(ALL)]
        first, last = edit(log, random.Random(seed))
        found = verify(LogReader(log), SIGNER.verifier, remembered)
        assert not found.whole, (edit.__name__, seed)
        assert first <= found.findings[0].record <= last, (edit.__name__, seed, found.findings)
        for file, data in saved.items():
            if not file.exists() or file.read_bytes() != data:
                file.write_bytes(data)
    assert verify(LogReader(log), SIGNER.verifier, remembered).whole


def test_without_a_remembered_checkpoint_what_was_cut_off_is_not_noticed(tmp_path: Path, whole: Path) -> None:
    """That is what witnesses are for."""
    log = tmp_path / "log"
    shutil.copytree(whole, log)
    cut_off(log, random.Random(0))
    assert verify(LogReader(log), SIGNER.verifier).whole


def test_a_log_that_grows_meanwhile_is_whole_as_far_as_it_was(tmp_path: Path, whole: Path) -> None:
    class Growing(LogReader):
        """Appended to after its checkpoint was read."""

        def note(self) -> Note:
            found = super().note()
            if grows:
                log = LogWriter.open(self.folder, SIGNER)
                log.add([record(SIZE)])
                log.close()
                grows.clear()
            return found

    grows = [True]
    log = tmp_path / "log"
    shutil.copytree(whole, log)
    found = verify(Growing(log), SIGNER.verifier)
    assert not grows
    assert found.findings == ()
    assert found.records == SIZE


def test_a_history_that_says_something_else_is_told(tmp_path: Path, whole: Path) -> None:
    log = tmp_path / "log"
    shutil.copytree(whole, log)
    other = stamped(Checkpoint(SIGNER.name, 100, bytes(32)), SIGNER, 0)
    with (log / HISTORY).open("a") as out:
        out.write(json.dumps({"note": other.decode()}) + "\n")
    found = verify(LogReader(log), SIGNER.verifier)
    assert found.findings == (Finding("checkpoints: two checkpoints of 100 records differ, and both are signed"),)


def test_a_log_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = verify(LogReader(tmp_path), SIGNER.verifier)
    assert found.findings == (Finding("checkpoint cannot be read: No such file or directory"),)


def test_progress_is_told(whole: Path) -> None:
    seen: list[tuple[int, int]] = []
    verify(LogReader(whole), SIGNER.verifier, progress=lambda done, size: seen.append((done, size)))
    assert seen == [(256, SIZE), (512, SIZE), (SIZE, SIZE)]
    assert Note.parse((whole / CHECKPOINT).read_bytes()).signatures[0][0] == SIGNER.name
