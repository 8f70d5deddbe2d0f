"""The README fits on a few screens, and what it leads to is there."""

import re

import pytest

from scripts.docs import README
from scripts.docs.figures import MARKED

TEXT = MARKED.sub(r"\3", README.read_text())  # as a reader sees it
MOST_LINES, MOST_LINES_OF_A_PARAGRAPH, MOST_CHARACTERS = 150, 4, 120
NO_PROSE = ("|", "#", "![")


def paragraphs(text: str) -> list[list[str]]:
    """Runs of lines, without code, tables, headings and pictures. An item of a list is a paragraph of its own."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", prose)
    return [block.strip().splitlines() for block in blocks if block.strip() and not block.strip().startswith(NO_PROSE)]


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= MOST_LINES


def test_no_paragraph_is_long() -> None:
    found = paragraphs(TEXT)
    assert len(found) > 10
    assert not [lines[0] for lines in found if len(lines) > MOST_LINES_OF_A_PARAGRAPH]


def test_no_line_is_long() -> None:
    assert not [line for line in TEXT.splitlines() if len(line) > MOST_CHARACTERS]


def test_a_paragraph_that_is_long_is_found() -> None:
    assert [
        len(lines) for lines in paragraphs("# a\n\none\ntwo\nthree\n\n```\ncode\n```\n- item\n- item\n  two\n")
    ] == [3, 1, 2]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)", TEXT))))
def test_what_it_links_to_is_there(target: str) -> None:
    assert (README.parent / target).is_file()


def test_it_shows_a_picture_and_a_chart() -> None:
    assert len(re.findall(r"!\[[^\]]+\]\(docs/[\w/]+\.svg\)", TEXT)) == 2
