"""Every figure in a document is the one in the results of the load test that it names."""

import re
from pathlib import Path

import pytest

from scripts.docs import ROOT, documents
from scripts.docs.figures import FIGURES, MARKED, with_figures

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in documents()]


@pytest.mark.parametrize("page", PAGES)
def test_figures_are_those_of_the_results(page: Path) -> None:
    text = page.read_text()
    assert text == with_figures(text), "run `make docs` and commit what it writes"


@pytest.mark.parametrize("page", PAGES)
def test_every_mark_of_a_figure_is_whole(page: Path) -> None:
    text = page.read_text()
    assert len(re.findall("<!-- figure:", text)) == len(MARKED.findall(text)) == text.count("<!-- /figure -->")
    assert not re.search("^ *<!-- figure:", text, re.MULTILINE), "a comment that begins a line ends the paragraph"


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_had(name: str) -> None:
    assert re.match(r"[+\d]", FIGURES[name]())


def test_a_figure_that_has_changed_is_written_again() -> None:
    told = with_figures("costs <!-- figure: race.8x16.guarded -->99 us<!-- /figure --> and more")
    assert told == f"costs <!-- figure: race.8x16.guarded -->{FIGURES['race.8x16.guarded']()}<!-- /figure --> and more"


def test_an_unknown_figure_is_an_error() -> None:
    with pytest.raises(KeyError, match="no_such"):
        with_figures("<!-- figure: no_such -->1<!-- /figure -->")


def test_figures_stand_in_the_measurements() -> None:
    assert len(MARKED.findall((ROOT / "docs" / "reference" / "measurements.md").read_text())) > 30
