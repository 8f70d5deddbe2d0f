"""What a record holds, and the bytes that it becomes: a leaf of the log stays the same for the same content."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import msgspec
import pytest

from modelward.audit.record import LONGEST_TEXT, TEXTS, Actor, Record, Text, schema

AT = datetime(2026, 1, 31, 12, 0, 0, 1200, tzinfo=UTC)
WHOLE = Record(
    at=AT,
    kind="human",
    verb="proposal.approve",
    result="refused",
    actor=Actor(name="ada", proof="certificate", issuer="ca", origin="10.0.0.1:1"),
    of=3,
    model="café",
    version="3",
    object="o",
    digest="sha256:00",
    reason="r",
    before={"a": {1: (2, None)}},
    after=[1.5, 1e22, True],
    proposal=2,
    approvals=("ada", "bob"),
    break_glass=True,
    figures={"x": {"y": float("inf"), "z": AT}},
    problems=({"what": "w"},),
    server="s",
)
LEAF = (
    '{"n":12,"at":"2026-01-31T12:00:00.001200Z","kind":"human","verb":"proposal.approve","result":"refused",'
    '"actor":{"name":"ada","proof":"certificate","issuer":"ca","origin":"10.0.0.1:1"},"of":3,"model":"café",'
    '"version":"3","object":"o","digest":"sha256:00","reason":"r","before":{"a":{"1":[2,null]}},'
    '"after":[1.5,1e+22,true],"proposal":2,"approvals":["ada","bob"],"break_glass":true,'
    '"figures":{"x":{"y":null,"z":"2026-01-31T12:00:00.001200Z"}},"problems":[{"what":"w"}],"server":"s"}'
)


def leaf(value: object) -> object:
    return json.loads(Record(at=AT, kind="automatic", verb="server.start", after=value).encoded(0))["after"]


def test_a_leaf_has_the_bytes_that_it_has_always_had() -> None:
    assert WHOLE.encoded(12).decode() == LEAF
    least = Record(at=AT.replace(microsecond=0), kind="summary", verb="denied").encoded(0)
    assert least == b'{"n":0,"at":"2026-01-31T12:00:00Z","kind":"summary","verb":"denied","result":"done"}'


def test_what_has_no_form_in_json_of_its_own_is_written_as_text_or_as_a_list() -> None:
    assert leaf((Path("/a/b"), timedelta(seconds=3), b"text", {1}, Actor(name="ada"))) == [
        "/a/b",
        "PT3S",
        "text",
        [1],
        {"name": "ada"},
    ]


@pytest.mark.parametrize("value", [object(), b"\xff", "\ud800", {(1, 2): 3}])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        leaf(value)


def test_a_text_is_cut_to_what_fits_when_it_is_made_and_when_it_is_read() -> None:
    long = "\N{GRINNING FACE}\ud800" * LONGEST_TEXT
    made = Record(at=AT, kind="human", verb="promote", actor=Actor(name=long, origin=long), reason=long, model=long)
    for text in (made.actor.name, made.actor.origin, made.reason, made.model):
        assert len(text) == LONGEST_TEXT and text.startswith("\N{GRINNING FACE}?") and text.endswith("...")
    fields = {"at": AT, "kind": "human", "verb": "promote", "reason": "x" * 3000, "actor": {"name": "x" * 3000}}
    found = msgspec.convert(fields, Record)
    assert found.reason == found.actor.name == "x" * (LONGEST_TEXT - 3) + "..."


def test_every_text_is_cut() -> None:
    hints = [*get_type_hints(Record, include_extras=True).items(), *get_type_hints(Actor, include_extras=True).items()]
    texts = {name for name, hint in hints if get_origin(hint) is Annotated and get_args(hint) == get_args(Text)}
    assert texts == {*TEXTS}
    described = schema()
    for name, each in {**described["properties"], **described["$defs"]["Actor"]["properties"]}.items():
        assert each.get("maxLength") == {"verb": 64, **dict.fromkeys(TEXTS, LONGEST_TEXT)}.get(name)


@pytest.mark.parametrize("verb", ["", "Promote", "a..b", "promote\n", "a.", "a" * 65])
def test_a_verb_is_of_small_letters_and_points(verb: str) -> None:
    with pytest.raises(ValueError, match="is no verb"):
        Record(at=AT, kind="human", verb=verb)
