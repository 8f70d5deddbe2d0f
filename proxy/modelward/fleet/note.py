"""What a server says of itself to the others, for `modelward status --fleet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, ValidationError

from modelward.config.section import Section
from modelward.fleet.record import Malformed
from modelward.fleet.store import LARGEST_NOTE

MOST_MODELS = 32
LONGEST = 200

Word = Annotated[str, Field(max_length=LONGEST)]
Number = Annotated[int, Field(ge=0, le=1 << 53)]


class OfModel(Section):
    """version, step: of its last promotion, as this server has it; epoch: of that record. held: why the server does
    not follow it, empty where it does. requests: that the version has answered in this step here, all_requests: that
    all have."""

    version: Word = ""
    step: Word = ""
    epoch: Number = 0
    held: Word = ""
    requests: Number = 0
    all_requests: Number = 0


class Note(Section):
    """release: of Modelward. state: as readiness has it. lost: how often this server has lost the store. name_taken:
    another server has the same name."""

    release: Word = ""
    identity: Word = ""
    state: Word = ""
    uptime: float = Field(default=0.0, ge=0, le=1e12)
    lost: Number = 0
    name_taken: bool = False
    models: Mapping[str, OfModel] = Field(default_factory=dict)
    more: Number = 0
    """Models that are promoted and did not fit."""


def encoded(note: Note) -> bytes:
    """With as many of its models as fit; those of most epochs first are no help, so the first by name."""
    names = sorted(note.models)
    for most in (MOST_MODELS, 8, 0):
        kept = {name: note.models[name] for name in names[:most]}
        told = note.model_copy(update={"models": kept, "more": len(names) - len(kept)})
        data = told.model_dump_json(exclude_defaults=True).encode()
        if len(data) <= LARGEST_NOTE:
            break
    return data


def decoded(data: bytes) -> Note:
    """Raises Malformed."""
    if len(data) > LARGEST_NOTE:
        raise Malformed("it is too long")
    try:
        return Note.model_validate_json(data)
    except ValidationError as error:
        raise Malformed(error.errors()[0]["msg"]) from error
    except ValueError as error:
        raise Malformed(str(error)) from error
