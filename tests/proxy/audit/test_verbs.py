"""What is recorded has a verb that the reference explains."""

from __future__ import annotations

import json
import re
from pathlib import Path

import modelward
from modelward.audit.record import Actor, Record, automatic, human, schema
from modelward.audit.verbs import MINUTE, PEOPLE, SERVER

CALL = re.compile(r'\b(?:automatic|human|_summary|_confirmed)\(\s*"([a-z_.]+)"')


def test_every_verb_in_the_code_is_in_the_table() -> None:
    sources = [file.read_text() for file in Path(modelward.__file__).parent.rglob("*.py")]
    used = {verb for text in sources for verb in CALL.findall(text)}
    assert len(used) > 20
    assert used <= {*PEOPLE, *SERVER, *MINUTE}


def test_the_schema_has_every_field_with_what_it_means() -> None:
    described = schema()
    assert list(described["properties"]) == ["n", *Record.__struct_fields__]
    silent = [name for name, each in described["properties"].items() if not each.get("description")]
    assert silent == []
    assert described["required"] == ["n", "at", "kind", "verb", "result"]
    written = json.loads(human("promote", Actor(name="alice"), model="add").encoded(7))
    assert written.keys() <= described["properties"].keys()
    assert set(described["required"]) <= written.keys()
    assert set(described["required"]) <= json.loads(automatic("server.start").encoded(0)).keys()
