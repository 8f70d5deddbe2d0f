"""One record of the audit trail: what a person did, or what the server decided. `schema` publishes its form.

No secret, no tensor and no credential enters a record: `who` is a name, and what proved it is only its kind.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from modelward.config.section import descriptions

Kind = Literal["human", "automatic", "summary"]
Proof = Literal["certificate", "token", "socket", "address", "signature", "none"]
Result = Literal["asked", "done", "refused", "failed", "unknown"]

LONGEST_TEXT = 2_000  # characters of any text of a record
LARGEST_RECORD = 32 << 10  # bytes
OUTCOME_KEEPS = ("kind", "verb", "actor", "model", "version", "object", "digest", "reason", "proposal", "approvals",
                 "break_glass", "server")  # fmt: skip
"""Fields that an outcome has of what was asked."""


def _cut(value: object) -> object:
    """What is too long is recorded as far as it fits: a record is never refused for its text."""
    if not isinstance(value, str):
        return value
    text = value if value.isascii() else value.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


Text = Annotated[str, BeforeValidator(_cut), Field(max_length=LONGEST_TEXT)]


class Actor(BaseModel):
    """Who did it. The server itself is `modelward`, with no proof."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

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


class Record(BaseModel):
    """The fields of one record. Those that say nothing are left out of it when it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    at: datetime.datetime
    """When, in UTC."""
    kind: Kind
    """`human`: a person asked. `automatic`: the server decided. `summary`: counts of one minute."""
    verb: str = Field(pattern=r"^[a-z]+(\.[a-z_]+)*$", max_length=64)
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
    figures: Mapping[str, Any] = Field(default_factory=dict)
    """Figures that decided, and the bounds that they were held against; of a summary, its counts."""
    problems: tuple[Mapping[str, str], ...] = ()
    """Why it was refused or failed: what, where, why, how."""
    server: str = ""
    """Name of the server that wrote the record."""

    def encoded(self, number: int) -> bytes:
        """The leaf of the log: one JSON document, which begins with its number."""
        fields = self.model_dump(mode="json", exclude_defaults=True)
        fields = {
            "at": fields.pop("at"),
            "kind": fields.pop("kind"),
            "verb": fields.pop("verb"),
            "result": self.result,
        } | fields
        text = json.dumps({"n": number, **fields}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def human(verb: str, actor: Actor, **fields: Any) -> Record:
    """What a person did, now."""
    return Record(at=now(), kind="human", verb=verb, actor=actor, **fields)


def automatic(verb: str, **fields: Any) -> Record:
    """What the server decided, now."""
    return Record(at=now(), kind="automatic", verb=verb, **fields)


def schema() -> dict[str, Any]:
    """The JSON schema of a record as it is written: with its number."""
    described = Record.model_json_schema(mode="serialization")
    for properties, model in ((described["properties"], Record), (described["$defs"]["Actor"]["properties"], Actor)):
        for name, text in descriptions(model).items():
            properties[name]["description"] = " ".join(text.split())
    number = {"type": "integer", "minimum": 0, "description": "Its place in the log, from 0 on."}
    described["properties"] = {"n": number, **described["properties"]}
    described["required"] = ["n", *described["required"], "result"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described}
