"""What a server says of itself, as others read it."""

from __future__ import annotations

import json

import pytest

from modelward.fleet.note import MOST_MODELS, Note, OfModel, decoded, encoded
from modelward.fleet.record import Malformed


def test_a_note_is_read_as_it_was_written_with_as_many_models_as_fit() -> None:
    note = Note(identity="a/1", models={f"m{number:03}": OfModel(version="3") for number in range(2 * MOST_MODELS)})
    found = decoded(encoded(note))
    assert (len(found.models), found.more) == (MOST_MODELS, MOST_MODELS)


@pytest.mark.parametrize("models", [{f"m{number}": {} for number in range(MOST_MODELS + 1)}, {"m" * 300: {}}])
def test_a_note_of_more_models_than_are_told_or_of_endless_names_is_none(models: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        decoded(json.dumps({"models": models}).encode())
