"""Which of several restrictions of one identity counts."""

from modelward.detect.restriction import Restriction, ruling

BLOCK = Restriction("team-a", "", "block", 0.0)
TAG = Restriction("team-a", "a", "tag", 0.0)


def test_who_may_restrict_for_all_models_can_make_an_exception_for_one():
    assert ruling(BLOCK, TAG) is TAG


def test_an_operator_of_some_models_weakens_nothing_that_holds_for_all():
    theirs = Restriction("team-a", "a", "tag", 0.0, above=False)
    assert ruling(BLOCK, theirs) is BLOCK
    assert ruling(None, theirs) is theirs
    stronger = Restriction("team-a", "a", "block", 0.0, above=False)
    assert ruling(Restriction("team-a", "", "round", 0.0), stronger) is stronger
