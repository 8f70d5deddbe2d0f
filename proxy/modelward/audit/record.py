"""One record of the audit trail: what a person did, or what the server decided. `schema` publishes its form.

No secret, no tensor and no credential enters a record: `who` is a name, and what proved it is only its kind.
"""

from __future__ import annotations

import ast
import datetime
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Set
from itertools import pairwise
from math import isfinite
from pathlib import PurePath
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, structs

from modelward.records import Struct, plain

Kind = Literal["human", "automatic", "summary"]
Proof = Literal["certificate", "token", "socket", "address", "signature", "none"]
Result = Literal["asked", "done", "refused", "failed", "unknown"]
OF_VALUES = {"kind": Kind, "proof": Proof, "result": Result}
"""Fields that have one of these values."""

LONGEST_TEXT = 2_000  # characters of any text of a record
LARGEST_RECORD = 32 << 10  # bytes
OUTCOME_KEEPS = ("kind", "verb", "actor", "model", "version", "object", "digest", "reason", "proposal", "approvals",
                 "break_glass", "server")  # fmt: skip
"""Fields that an outcome has of what was asked."""


def _cut(value: str) -> str:
    """What is too long is recorded as far as it fits: a record is never refused for its text."""
    text = value if value.isascii() else value.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


Text = Annotated[str, Meta(extra_json_schema={"maxLength": LONGEST_TEXT})]
"""Longer ones are cut, also those that are read."""
TEXTS = ("name", "issuer", "origin", "model", "version", "object", "reason")
"""Fields that are."""
VERB = r"^[a-z]+(\.[a-z_]+)*$"
LONGEST_VERB = 64


class _OfTexts(Struct, frozen=True, kw_only=True):
    def __post_init__(self) -> None:
        for name in TEXTS:
            value = getattr(self, name, "")
            if (text := _cut(value)) != value:
                structs.force_setattr(self, name, text)


class Actor(_OfTexts, frozen=True, kw_only=True):
    """Who did it. The server itself is `modelward`, with no proof."""

    name: Text
    """As the proof tells it."""
    proof: Proof = "none"
    """How the name was proved: client certificate, token, user of a Unix socket; an address proves nothing.
    `signature`: an approver's, on a configuration file."""
    issuer: Text = ""
    """Of a token or a certificate."""
    origin: Text = ""
    """Address that the call came from; empty for the server itself."""


ITSELF = Actor(name="modelward")


class Record(_OfTexts, frozen=True, kw_only=True):
    """The fields of one record. Those that say nothing are left out of it when it is written."""

    at: Annotated[datetime.datetime, Meta(extra_json_schema={"format": "date-time"})]
    """When, in UTC."""
    kind: Kind
    """`human`: a person asked. `automatic`: the server decided. `summary`: counts of one minute."""
    verb: Annotated[str, Meta(extra_json_schema={"pattern": VERB, "maxLength": LONGEST_VERB})]
    """What was done, such as `promote`, `proposal.approve` or `version.refused`."""
    result: Result = "done"
    """`asked`: recorded before it was done; another record, which names this one in `of`, says what came of it.
    `unknown`: the server ended before it told; its next start wrote this record."""
    actor: Actor = ITSELF
    """Who did it; absent: the server itself."""
    of: int | None = None
    """Number of the record that this one is the outcome of."""
    model: Text = ""
    """What it was done to."""
    version: Text = ""
    """Of the model."""
    object: Text = ""
    """What it was done to, where that is no model."""
    digest: str = ""
    """Of the version, `sha256:` and hexadecimal digits."""
    reason: Text = ""
    """As the person gave it, or why the server decided so."""
    before: Any = None
    """What was so before it."""
    after: Any = None
    """What is so after it."""
    proposal: int | None = None
    """Number of the proposal that it belongs to."""
    approvals: tuple[str, ...] = ()
    """Names of those who approved it."""
    break_glass: bool = False
    """It was done without the approvals that it needs."""
    figures: Mapping[str, Any] = {}
    """Figures that decided, and the bounds that they were held against; of a summary, its counts."""
    problems: tuple[Mapping[str, str], ...] = ()
    """Why it was refused or failed: what, where, why, how."""
    server: str = ""
    """Name of the server that wrote the record."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.verb) > LONGEST_VERB or re.fullmatch(VERB, self.verb) is None:
            raise ValueError(f"{self.verb!r} is no verb")

    def encoded(self, number: int) -> bytes:
        """The leaf of the log: one JSON document, which begins with its number."""
        fields = _as_json(self)
        fields = {
            "at": fields.pop("at"),
            "kind": fields.pop("kind"),
            "verb": fields.pop("verb"),
            "result": self.result,
        } | fields
        text = json.dumps({"n": number, **fields}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()


def _as_json(value: Any) -> Any:
    """As json.dumps takes it, figures that are none as null. Raises TypeError where it is no JSON, ValueError for bytes
    that are no text."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple | Set):
        return [_as_json(each) for each in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, PurePath):
        return str(value)
    return _as_json(plain(value, defaults=False) if isinstance(value, Struct) else msgspec.to_builtins(value))


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def human(verb: str, actor: Actor, **fields: Any) -> Record:
    """What a person did, now."""
    return Record(at=now(), kind="human", verb=verb, actor=actor, **fields)


def summary(verb: str, **fields: Any) -> Record:
    """Counts of what has happened until now."""
    return Record(at=now(), kind="summary", verb=verb, **fields)


def automatic(verb: str, **fields: Any) -> Record:
    """What the server decided, now."""
    return Record(at=now(), kind="automatic", verb=verb, **fields)


def schema() -> dict[str, Any]:
    """The JSON schema of a record as it is written: with its number."""
    described = msgspec.json.schema(Record)
    defined = described["$defs"]
    record, actor = defined.pop("Record"), defined["Actor"]
    for properties, kind in ((record["properties"], Record), (actor["properties"], Actor)):
        for name, text in _meanings(kind):
            properties[name]["description"] = text
            if values := get_args(OF_VALUES.get(name)):
                properties[name] |= {"type": "string", "enum": [*values]}
    number = {"type": "integer", "minimum": 0, "description": "Its place in the log, from 0 on."}
    record["properties"] = {"n": number, **record["properties"]}
    record["required"] = ["n", *record["required"], "result"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": defined, **record}


def _meanings(kind: type[Struct]) -> Iterator[tuple[str, str]]:
    """Names of fields, and what the string below each says of it."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    for below in pairwise(tree.body):
        match below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())
