"""Records: what the release before has written is read and written the same; what is wrong is named, and where."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import modelward
from modelward.approvals.approved import Approved
from modelward.approvals.book import Book
from modelward.fleet.evidence import Evidence
from modelward.fleet.note import Note
from modelward.fleet.overrides import Entries
from modelward.fleet.record import Record
from modelward.promotion.state import State
from modelward.records import Struct, plain, read, written

KEPT = json.loads(Path(__file__).with_name("kept_records.json").read_text())
"""By what it is, as releases before these structs have written it."""
KINDS: dict[str, tuple[type[Struct], bool, int]] = {
    "promotions": (State, True, 1),
    "approved and waiting": (State, True, 1),
    "proposals": (Book, False, 1),
    "approved configuration": (Approved, True, 1),
    "fleet's promotion": (Record, False, 0),
    "fleet's approvals": (Record, False, 0),
    "overrides of requests": (Entries, False, 0),
    "overrides of backend time": (Entries, False, 0),
    "note": (Note, False, 0),
    "evidence": (Evidence, False, 0),
}


@pytest.mark.parametrize("what", KEPT)
def test_what_an_earlier_release_has_written_is_read_and_written_the_same(what: str) -> None:
    kind, defaults, indent = KINDS[what]
    record = read(kind, KEPT[what].encode())
    assert written(record, defaults=defaults, indent=indent).decode() == KEPT[what]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"\xff", "malformed"),
        (
            b'{"events": [{"at": 1.0, "what": "reload"}, {"at": "now", "what": "reload"}]}',
            r"`float`.*\$\.events\[1\]\.at",
        ),
        (b'{"events": [{"at": 1.0}]}', r"`what`.*\$\.events\[0\]"),
        (b'{"serving": {"m": 3}}', r"`str`, got `int`.*\$\.serving"),
        (b'{"other": 1}', "unknown field `other`"),
        (rb'{"events": [{"at": 1.0, "what": "\ud800"}]}', "."),
    ],
)
def test_what_is_wrong_is_told_with_its_place(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(State, data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"lost": -1}', r"`int` >= 0.*\$\.lost"),
        (b'{"lost": 9007199254740993}', "`int` <= 9007199254740992"),
        (b'{"lost": ' + b"9" * 5000 + b"}", r"\$\.lost"),
        (b'{"lost": 1.0}', "`int`, got `float`"),
        (b'{"uptime": 1e13}', "`float` <= 1000000000000"),
        (b'{"uptime": 1e999}', r"out of range.*\$\.uptime"),
        (b'{"models": {"m": {"version": "' + b"3" * 201 + b'"}}}', "length <= 200"),
    ],
)
def test_bounds_hold_when_a_record_is_read(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(Note, data)


def test_what_is_nested_too_deeply_is_refused() -> None:
    ask = b'{"verb": "reload", "verdict": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    with pytest.raises(ValueError, match="nested too deeply"):
        read(Book, b'{"proposals": [{"number": 1, "ask": ' + ask + b"}]}")


def test_what_is_as_it_would_be_anyway_can_be_left_out() -> None:
    assert plain(Book(), defaults=False) == {}
    assert plain(Book(last=1), defaults=False) == {"last": 1}
    assert plain(Book())["objections"] == {"rejected": {}, "dropped": 0.0, "claims": ()}


SETTINGS = {"approvals/differences.py"}  # it compares configurations
OF_RECORDS = ("audit", "promotion", "approvals", "fleet")


def test_no_module_of_records_brings_pydantic() -> None:
    folder = Path(modelward.__file__).parent
    sources = [folder / "records.py", folder / "integrity/manifest.py"]
    sources += [file for each in OF_RECORDS for file in (folder / each).rglob("*.py")]
    assert len(sources) > 50
    brings = re.compile(r"^\s*(from|import) (pydantic|modelward\.config\.section)", re.MULTILINE)
    found = {str(file.relative_to(folder)) for file in sources if brings.search(file.read_text())}
    assert found <= SETTINGS
