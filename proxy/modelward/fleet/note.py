"""What a server says of itself to the others, for `modelward status --fleet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, structs

from modelward.fleet.record import Malformed
from modelward.fleet.store import LARGEST_NOTE
from modelward.records import Struct, read, written

MOST_MODELS = 32
LONGEST = 200

Word = Annotated[str, Meta(max_length=LONGEST)]
Name = Annotated[str, Meta(max_length=256)]
Number = Annotated[int, Meta(ge=0, le=1 << 53)]


class OfModel(Struct, frozen=True, kw_only=True):
    """version, step: of its last promotion, as this server has it; epoch: of that record. held: why the server does
    not follow it, empty where it does. requests: that the version has answered in this step here, all_requests: that
    all have."""

    version: Word = ""
    step: Word = ""
    epoch: Number = 0
    held: Word = ""
    requests: Number = 0
    all_requests: Number = 0


class Note(Struct, frozen=True, kw_only=True):
    """release: of Modelward. state: as readiness has it. lost: how often this server has lost the store. name_taken:
    another server has the same name."""

    release: Word = ""
    identity: Word = ""
    state: Word = ""
    uptime: Annotated[float, Meta(ge=0, le=1e12)] = 0.0
    lost: Number = 0
    name_taken: bool = False
    models: Annotated[Mapping[Name, OfModel], Meta(max_length=MOST_MODELS)] = {}
    more: Number = 0
    """Models that are promoted and did not fit."""


def encoded(note: Note) -> bytes:
    """With as many of its models as fit; those of most epochs first are no help, so the first by name."""
    names = sorted(note.models)
    for most in (MOST_MODELS, 8, 0):
        kept = {name: note.models[name] for name in names[:most]}
        data = written(structs.replace(note, models=kept, more=len(names) - len(kept)), defaults=False)
        if len(data) <= LARGEST_NOTE:
            break
    return data


def decoded(data: bytes) -> Note:
    """Raises Malformed."""
    if len(data) > LARGEST_NOTE:
        raise Malformed("it is too long")
    try:
        return read(Note, data)
    except ValueError as error:
        raise Malformed(str(error)) from error
