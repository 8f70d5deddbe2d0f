"""The table of stages says what there is: a module for each stage, and reasons that a client can be told."""

from __future__ import annotations

from importlib.util import find_spec

from modelward_native.request.pipeline import stages
from modelward_native.request.verdict import reasons


def test_each_stage_stands_in_the_module_of_its_name() -> None:
    names = [name for rows in stages().values() for name, _, _ in rows]
    assert len(names) == len(set(names)) > 15
    assert [name for name in names if find_spec(f"modelward_native.stages.{name}") is None] == []


def test_each_stage_refuses_with_reasons_of_the_one_table_and_says_why_it_stands_there() -> None:
    rows = [row for phase in stages().values() for row in phase]
    assert {reason for _, refuses, _ in rows for reason in refuses.split()} <= reasons().keys()
    assert all(why for _, _, why in rows)
