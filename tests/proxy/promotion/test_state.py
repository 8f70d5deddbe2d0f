"""The file that says which version has which share."""

import stat
from pathlib import Path

import pytest

from proxy.problem import ProblemsFound
from proxy.promotion import state
from proxy.promotion.state import Event, Promotion, State

STEPPING = Promotion(version="3", before={"2": 1}, configured=None, steps=(1, 10, 100), since=1.5)
BEGUN = Event(at=1.5, model="m", version="3", what="1 %")


@pytest.mark.parametrize(
    ("promotion", "shares"),
    [
        (STEPPING, {"2": 9900, "3": 100}),
        (STEPPING.model_copy(update={"step": 1}), {"2": 9000, "3": 1000}),
        (STEPPING.model_copy(update={"step": 2}), {"3": 10_000}),
        (STEPPING.model_copy(update={"phase": "done", "step": 2}), {"3": 10_000}),
        (STEPPING.model_copy(update={"phase": "rolled back"}), {"2": 1}),
        (STEPPING.model_copy(update={"before": {"1": 30, "2": 60, "3": 10}}), {"1": 3300, "2": 6600, "3": 100}),
        (STEPPING.model_copy(update={"before": {"1": 0, "2": 5}}), {"2": 9900, "3": 100}),
        (STEPPING.model_copy(update={"before": {"1": 1, "2": 1_000_000}}), {"1": 1, "2": 9899, "3": 100}),
    ],
)
def test_a_step_gives_its_share_and_leaves_the_rest_to_the_others_as_they_were(
    promotion: Promotion, shares: dict[str, int]
) -> None:
    assert promotion.shares == shares


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "modelward"
    assert state.load(folder) == State(), "there is nothing yet"
    written = State().with_promotion("m", STEPPING, BEGUN)
    state.save(folder, written)
    assert state.load(folder) == written
    assert stat.S_IMODE((folder / state.FILE).stat().st_mode) == 0o600
    assert [f.name for f in folder.iterdir()] == [state.FILE], "nothing is left beside it"
    state.save(folder, written.without("m", BEGUN))
    assert state.load(folder).promotions == {}


def test_events_are_bounded_and_the_newest_stay() -> None:
    kept = State()
    for i in range(state.MOST_EVENTS + 5):
        kept = kept.with_promotion("m", STEPPING, BEGUN.model_copy(update={"at": float(i)}))
    assert len(kept.events) == state.MOST_EVENTS
    assert kept.events[-1].at == state.MOST_EVENTS + 4


@pytest.mark.parametrize("text", ["", "{", "[]", '{"promotions": {"m": {}}}', '{"unknown": 1}', "\xff"])
def test_a_file_that_is_no_state_is_a_problem_that_says_how_to_mend_it(tmp_path: Path, text: str) -> None:
    (tmp_path / state.FILE).write_text(text, encoding="latin-1")
    with pytest.raises(ProblemsFound) as found:
        state.load(tmp_path)
    assert str(tmp_path / state.FILE) in str(found.value)
    assert "remove it" in str(found.value)


def test_a_folder_that_cannot_be_made_is_a_problem_that_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProblemsFound, match="Set state to a folder"):
        state.save(tmp_path / "file" / "state", State())
