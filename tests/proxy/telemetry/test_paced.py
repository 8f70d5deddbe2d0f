"""Events are told at once, then together: time is an argument."""

from modelward.telemetry.paced import Paced


def test_the_first_is_told_at_once_and_the_next_together_when_the_pause_has_ended() -> None:
    told: list[int] = []
    paced = Paced(10.0)
    for now, number in [(0.0, 0), (1.0, 3), (2.0, 5), (5.0, 0), (10.9, 1), (11.0, 0), (30.0, 0), (31.0, 2)]:
        paced.add("a", number, now, told.append)
    assert told == [3, 6, 2]


def test_keys_do_not_wait_for_each_other() -> None:
    told: list[str] = []
    paced = Paced(10.0)
    paced.add("a", 1, 0.0, lambda _: told.append("a"))
    paced.add("b", 1, 0.0, lambda _: told.append("b"))
    assert told == ["a", "b"]
