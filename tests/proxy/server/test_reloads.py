"""What the log says of reloads."""

import logging

import pytest

from modelward.problem import Problem
from modelward.server.reloads import Reloads

REFUSED = (Problem("this is no ONNX model", "models/fraud"),)


@pytest.mark.parametrize(
    ("changed", "refused", "line"),
    [
        (["models.fraud.deadline"], (), "reloaded: models.fraud.deadline"),
        (["models.fraud.deadline"], REFUSED, "reloaded: models.fraud.deadline"),
        ([], (), "reloaded: nothing changed"),
        ([], REFUSED, "reload refused: nothing changed"),
    ],
)
def test_one_line_says_what_a_reload_changed(
    changed: list[str], refused: tuple[Problem, ...], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "modelward.reload")
    reloads = Reloads()
    reloads.apply(changed, (), refused)
    assert caplog.messages == [line]
    assert (reloads.applied, reloads.partial) == ((0, 1) if refused else (1, 0))


def test_a_reload_has_failed_where_it_was_refused_as_a_whole_until_the_next_one() -> None:
    reloads = Reloads()
    reloads.apply([], (), REFUSED)
    assert reloads.stats().failing == 0, "refused models are counted apart"
    reloads.refuse(REFUSED)
    assert reloads.stats().failing == 1
    reloads.apply([], (), REFUSED)
    assert reloads.stats().failing == 0
