"""Tables on narrow terminals."""

import io

import pytest
from rich.console import Console

from modelward.cli.tables import fitted

COLUMNS = ("identity", "step", "why")
ROWS = [
    ("team-with-a-long-name", "block", "near duplicates and unlike the training data"),
    ("spiffe://cluster.example/ns/default/sa/batch", "round", ""),
]
WORDS = {word for row in (COLUMNS, *ROWS) for text in row for word in text.split()}


def shown(width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width, highlight=False).print(fitted("suspects", COLUMNS, ROWS, width))
    return text.getvalue()


@pytest.mark.parametrize("width", [60, 75, 80, 100, 140])
def test_no_word_is_broken_and_none_is_lost(width: int) -> None:
    text = shown(width)
    assert all(len(line) <= width for line in text.splitlines())
    assert all(word in text for word in WORDS if "://" not in word or width > len(word))


def test_a_table_that_has_no_room_is_a_block_of_lines_for_each_row() -> None:
    assert shown(60).splitlines() == [
        "suspects",
        "- identity: team-with-a-long-name",
        "  step: block",
        "  why: near duplicates and unlike the training data",
        "- identity: spiffe://cluster.example/ns/default/sa/batch",
        "  step: round",
    ]
    assert "- identity" not in shown(80)
