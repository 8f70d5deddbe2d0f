"""Sections of the configuration: what they are where nothing of them is written."""

from __future__ import annotations

import pickle

import pytest

from modelward.config import schema
from modelward.config.section import Section, sections

OPTIONAL = [
    each
    for each in dict.fromkeys(sections())
    if each.__module__.startswith("modelward.config.") and not any(f.is_required() for f in each.model_fields.values())
]


@pytest.mark.parametrize("section", OPTIONAL, ids=lambda section: section.__name__)
def test_what_is_not_validated_is_what_validation_would_give(section: type[Section]) -> None:
    try:
        validated = section.model_validate({})
    except ValueError:  # one that is only written with something in it
        return
    made = section.default()
    assert made == validated
    assert made.model_fields_set == validated.model_fields_set == set()
    assert made.model_dump_json() == validated.model_dump_json()
    assert pickle.loads(pickle.dumps(made)) == made


def test_the_whole_configuration_is_among_them() -> None:
    assert schema.Config in OPTIONAL
    assert len(OPTIONAL) > 30
