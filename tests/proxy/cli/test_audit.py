"""`modelward audit`: what is shown of a log, and what it says of one that was changed."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from modelward.audit import key, opening
from modelward.audit.files import CHECKPOINT, HISTORY, LogWriter
from modelward.audit.note import Note, NotSigned, Signer
from modelward.audit.postgres import PostgresReader
from modelward.audit.proof import Inclusion
from modelward.audit.record import Actor, Record, automatic, human
from modelward.cli.app import main

ALICE = Actor(name="alice@example.com", proof="token", issuer="https://issuer.example")
EVIL = Actor(name="\x1b[31mevil", proof="certificate")
BEGAN = datetime(2026, 11, 29, 9, 0, tzinfo=UTC)


def at(record: Record, minute: int) -> Record:
    return structs.replace(record, at=BEGAN + timedelta(minutes=minute))


RECORDS = [
    at(automatic("server.start"), 0),
    at(human("promote", ALICE, result="asked", model="add", version="2", reason="=cmd()"), 1),
    at(human("promote", ALICE, of=1, model="add", version="2", after={"percent": 25}), 1),
    at(automatic("promotion.rolled_back", model="add", version="2", figures={"bound": "errors"}), 5),
    at(human("proposal.open", EVIL, proposal=3, model="sub"), 7),
    at(human("force", EVIL, break_glass=True, result="refused", problems=({"what": "no"},)), 9),
    *(at(automatic("breaker.opened", object=f"upstream {i}"), 10) for i in range(594)),
]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("state")
    signer = key.load_or_make(state / "audit", "modelward/test", begun=False)
    log = LogWriter.open(state / "audit" / "log", signer)
    for first, end in ((0, 3), (3, 300), (300, 600)):
        log.append(RECORDS[first:end])
    log.close()
    return state


@pytest.fixture
def copy(state: Path, tmp_path: Path) -> Path:
    return shutil.copytree(state, tmp_path / "copy")


class Audit:
    """Runs the command in this process."""

    def __init__(self, capfdbinary: pytest.CaptureFixture[bytes], state: Path) -> None:
        self._capture = capfdbinary
        self._state = state

    def run(self, *arguments: object, code: int = 0, state: Path | None = None) -> tuple[str, str]:
        where = () if "--log" in arguments else ("--state", state or self._state)
        self._capture.readouterr()
        assert main(["audit", *map(str, (*arguments, *where))]) == code
        out, err = self._capture.readouterr()
        return out.decode(), err.decode()

    def documents(self, *arguments: object, code: int = 0, state: Path | None = None) -> list[Any]:
        return [json.loads(line) for line in self.run(*arguments, "--json", code=code, state=state)[0].splitlines()]


@pytest.fixture
def audit(capfdbinary: pytest.CaptureFixture[bytes], state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Audit]:
    monkeypatch.setenv("NO_COLOR", "1")
    yield Audit(capfdbinary, state)


def numbers(found: list[Any]) -> list[int]:
    return [each["n"] for each in found]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--actor", "alice@example.com"), [1, 2]),
        (("--actor", "alice*", "--result", "asked"), [1]),
        (("--actor", "modelward", "--verb", "server.*"), [0]),
        (("--verb", "promot*"), [1, 2, 3]),
        (("--model", "add", "--version", "2", "--kind", "automatic"), [3]),
        (("--since", "2026-11-29T09:05:00Z", "--until", "2026-11-29T09:09:00+00:00"), [3, 4]),
        (("--until", "2026-11-29T09:01:00"), [0]),
        (("--proposal", "3"), [4]),
        (("--request", "1"), [1, 2]),
        (("--break-glass",), [5]),
        (("--object", "upstream 593"), [599]),
        (("--model", "nothing"), []),
    ],
)
def test_queries_find_what_matches(audit: Audit, filters: tuple[str, ...], expected: list[int]) -> None:
    assert numbers(audit.documents("query", *filters)) == expected


def test_a_query_ends_at_its_limit_and_tail_begins_near_the_end(audit: Audit) -> None:
    assert numbers(audit.documents("query", "--limit", 2, "--model", "add")) == [1, 2]
    assert numbers(audit.documents("tail", "-n", 3)) == [597, 598, 599]
    assert numbers(audit.documents("tail", "-n", 2, "--model", "add")) == [2, 3]


def test_names_of_strangers_are_not_sent_to_the_terminal(audit: Audit) -> None:
    out, _ = audit.run("query", "--proposal", 3)
    assert "\x1b" not in out
    assert r"\x1b[31mevil" in out
    shown, _ = audit.run("show", 4)
    assert "\x1b" not in shown


def test_a_leaf_that_is_no_record_is_told_and_not_a_traceback(audit: Audit, tmp_path: Path) -> None:
    """Of a log that a stranger gives: signed, and nonsense."""
    signer = key.load_or_make(tmp_path / "audit", "x", begun=False)
    log = LogWriter.open(tmp_path / "audit" / "log", signer)
    log.add([b"[" * 60_000, b'{"n":1,"at":7,"verb":{},"actor":"x","problems":["y"]}', b"\xff"])
    log.close()
    for code, *arguments in (
        (1, "query"),
        (0, "show", 1),
        (1, "show", 0),
        (1, "show", 2),
        (1, "export", "--format", "csv"),
    ):
        _, err = audit.run(*arguments, state=tmp_path, code=code)
        assert "Traceback" not in err
    assert "record 0 is nested too deeply" in audit.run("query", state=tmp_path, code=1)[1]


def test_one_record_is_shown_with_what_came_of_it(audit: Audit) -> None:
    out, _ = audit.run("show", 1)
    assert "actor.issuer     https://issuer.example" in out
    assert "in the log of 600 records that modelward/test has signed" in out
    assert "of 1" in out.splitlines()[-1]
    assert audit.run("show", 1, "--raw")[0].encode() == RECORDS[1].encoded(1)
    _, err = audit.run("show", 600, code=1)
    assert "there is no record 600" in err
    assert "it holds 0 to 599" in err


def test_exports_are_the_bytes_of_the_log_or_csv_that_no_spreadsheet_computes(audit: Audit, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    audit.run("export", "-o", file)
    assert file.read_bytes().splitlines() == [record.encoded(i) for i, record in enumerate(RECORDS)]
    out, _ = audit.run("export", "--format", "csv", "--model", "add")
    asked, done, _ = csv.DictReader(io.StringIO(out))
    assert (asked["actor"], asked["issuer"], asked["reason"]) == (ALICE.name, ALICE.issuer, "'=cmd()")
    assert (done["of"], done["after"]) == ("1", '{"percent": 25}')


def test_a_whole_log_verifies_with_the_public_key_alone(audit: Audit, copy: Path) -> None:
    out, err = audit.run("verify")
    assert "whole: 600 records" in out
    assert "the key lies beside the log" in err
    kept = (copy / "audit" / "key.pub").read_text().strip()
    out, err = audit.run("verify", "--log", copy / "audit" / "log", "--key", kept)
    assert "whole: 600 records" in out
    assert err == ""
    (told,) = audit.documents("verify", "--remembered", copy / "audit" / "log" / CHECKPOINT)
    assert (told["whole"], told["size"], told["findings"]) == (True, 600, [])


@pytest.mark.parametrize("broken", ["gone", "pipe", "device", "cut off"])
def test_a_log_without_its_earlier_checkpoints_is_not_called_whole_without_a_word(
    audit: Audit, copy: Path, broken: str
) -> None:
    history = copy / "audit" / "log" / HISTORY
    history.unlink()
    if broken == "pipe":
        os.mkfifo(history)
    elif broken == "device":
        history.symlink_to("/dev/zero")
    elif broken == "cut off":
        history.write_text('{"note"')
    _, err = audit.run("verify", state=copy, code=1)
    assert "the log was not held against its earlier checkpoints" in err
    assert "--no-history" in err
    out, _ = audit.run("verify", "--json", state=copy, code=1)
    assert json.loads(out)["history"]
    out, err = audit.run("verify", "--no-history", state=copy)
    assert "whole: 600 records" in out
    assert "warning: the log was not held against its earlier checkpoints" in err


def test_an_endless_line_of_earlier_checkpoints_is_a_finding(audit: Audit, copy: Path) -> None:
    (copy / "audit" / "log" / HISTORY).write_bytes(b"[" * 1_000_000)
    assert "a line of it is no checkpoint" in audit.run("verify", state=copy, code=1)[1]


def test_records_that_were_changed_are_not_printed(audit: Audit, copy: Path) -> None:
    file = copy / "audit" / "log" / "tile" / "entries" / "000"
    file.write_bytes(file.read_bytes().replace(b"proposal.open", b"proposal.shut"))
    for arguments in (("tail", "-n", "600"), ("query", "--model", "sub"), ("export",), ("show", 1)):
        assert "record 4 was changed" in audit.run(*arguments, state=copy, code=1)[1]


def test_a_query_tells_how_many_records_it_could_not_look_at(audit: Audit, copy: Path) -> None:
    (copy / "audit" / "log" / "tile" / "entries" / "001").unlink()
    _, err = audit.run("query", "--model", "nothing", state=copy)
    assert "none of 344 records matches; 256 are not there and were not looked at" in err


def test_a_record_that_was_changed_is_named(audit: Audit, copy: Path) -> None:
    file = copy / "audit" / "log" / "tile" / "entries" / "001"
    file.write_bytes(file.read_bytes().replace(b"upstream 300", b"upstream 301"))
    _, err = audit.run("verify", state=copy, code=1)
    assert "record 306 was changed" in err
    out, _ = audit.run("verify", "--json", state=copy, code=1)
    assert [(each["record"], each["end"]) for each in json.loads(out)["findings"]] == [(306, 307)]
    _, err = audit.run("show", 306, state=copy, code=1)
    assert "modelward audit verify" in err
    _, err = audit.run("prove", 306, state=copy, code=1)
    assert "the record is not in the tree at this place" in err


def test_a_log_that_was_cut_off_is_told_against_what_is_remembered(audit: Audit, copy: Path, state: Path) -> None:
    log = copy / "audit" / "log"
    first = json.loads((log / "checkpoints").read_text().splitlines()[1])["note"]
    (log / CHECKPOINT).write_text(first)
    (log / "checkpoints").unlink()
    assert "whole: 300 records" in audit.run("verify", "--no-history", state=copy)[0]
    remembered = state / "audit" / "log" / CHECKPOINT
    _, err = audit.run("verify", "--remembered", remembered, state=copy, code=1)
    assert "a checkpoint of 600 records is remembered, and the log has 300: it was cut off" in err


def test_another_key_is_not_believed(audit: Audit) -> None:
    other = Signer("modelward/test", bytes(32)).verifier
    _, err = audit.run("tail", "--key", other, code=1)
    assert "the checkpoint of the log cannot be believed" in err
    _, err = audit.run("verify", "--key", f"{other}x", code=1)
    assert "this is no public key of a log" in err


def test_a_proof_of_a_record_is_checked_without_the_log(audit: Audit, tmp_path: Path) -> None:
    proof, record = tmp_path / "proof", tmp_path / "record"
    proof.write_text(audit.run("prove", 306)[0])
    record.write_bytes(RECORDS[306].encoded(306))
    out, _ = audit.run("verify", "--proof", proof, "--record", record)
    assert "proven: record 306 of the log of 600 records" in out
    record.write_bytes(RECORDS[306].encoded(307))
    _, err = audit.run("verify", "--proof", proof, "--record", record, code=1)
    assert "the record is not in the tree at this place" in err
    with pytest.raises(NotSigned):
        Inclusion.parse(proof.read_text()).check(
            RECORDS[306].encoded(306), Signer("modelward/test", bytes(32)).verifier
        )


def test_a_proof_that_a_log_has_only_grown(audit: Audit) -> None:
    old, *hashes = audit.run("prove", "3..300")[0].partition("\n\n")[0].splitlines()
    assert old == "old 3"
    assert hashes
    (told,) = audit.documents("prove", "300..")
    assert (told["before"], told["size"]) == (300, 600)
    assert Note.parse(told["checkpoint"].encode()).text.splitlines()[1] == "600"
    _, err = audit.run("prove", "3..250", code=1)
    assert "there is no checkpoint of 250 records; those nearest are of 3 and 300" in err
    _, err = audit.run("prove", "x", code=2)
    assert "neither a record nor two sizes" in err


def test_a_log_that_is_not_there_is_told_with_where_it_may_be(audit: Audit, tmp_path: Path) -> None:
    _, err = audit.run("tail", state=tmp_path, code=1)
    assert "there is no public key of a log" in err
    assert "--state" in err and "--config" in err
    key.load_or_make(tmp_path / "audit", "x", begun=False)
    _, err = audit.run("tail", state=tmp_path, code=1)
    assert "there is no audit log" in err
    assert "--state" in err


def test_a_log_whose_server_keeps_none_any_more_is_read_with_a_note(audit: Audit, state: Path, tmp_path: Path) -> None:
    file = tmp_path / "modelward.yaml"
    file.write_text("audit: {}\n")
    assert "the audit trail is off" not in audit.run("tail", "--config", file, state=state)[1]
    file.write_text("limits: {total: {rate: 1/s}}\n")
    assert "the audit trail is off" in audit.run("tail", "--config", file, state=state)[1]


def test_a_log_in_postgres_is_opened_with_its_key_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg", reason="the package psycopg is not installed")
    asked: list[str] = []

    class Gone(PostgresReader):
        def note(self) -> Note:
            asked.append(self._log)
            raise OSError("it is gone")

    monkeypatch.setattr(opening, "PostgresReader", Gone)
    file = tmp_path / "modelward.yaml"
    file.write_text(f"state: {tmp_path}\naudit: {{postgres: 'postgresql://audit@127.0.0.1:1/audit'}}\n")
    assert (
        main(["audit", "tail", "--config", str(file), "--key", str(Signer("modelward/test", bytes(32)).verifier)]) == 1
    )
    assert "the log cannot be read" in capfd.readouterr().err
    assert asked == ["modelward/test"]


def test_the_schema_is_printed_without_a_log(audit: Audit, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["audit", "schema"]) == 0
    assert "break_glass" in json.loads(capfdbinary.readouterr().out)["properties"]
