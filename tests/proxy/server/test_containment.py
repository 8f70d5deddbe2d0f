"""Which inputs are not run any more after deaths of workers."""

import signal

from modelward.server.containment import MOST_CALLERS, MOST_LOADS, MOST_SHAPES, Containment, deadly
from modelward_native.backend.notes import Run

ABORTED = -signal.SIGABRT


def run(model: str, *dims: int, marked: bool = False) -> Run:
    return Run(model, "1", "digest", dims, signal.SIGABRT if marked else 0)


def pooled(model: str, *dims: int) -> Run:
    return Run(model, "1", "digest", dims, signal.SIGABRT, pooled=True)


def shapes(containment: Containment) -> dict[str, tuple[tuple[int, ...], ...]]:
    return {each.model: each.shapes for each in containment.contained}


def test_the_run_whose_thread_got_the_signal_is_to_blame() -> None:
    containment = Containment()
    assert containment.take(ABORTED, [run("a", 1), run("b", 2, marked=True)])
    assert shapes(containment) == {"b": ((2,),)}
    assert containment.crashes == {("b", "1"): 1}


def test_the_only_run_is_to_blame() -> None:
    containment = Containment()
    assert containment.take(ABORTED, [run("a", 1)])
    assert shapes(containment) == {"a": ((1,),)}


def test_of_several_without_a_mark_one_that_was_there_twice_is_to_blame() -> None:
    containment = Containment()
    assert not containment.take(ABORTED, [run("a", 1), run("b", 2)])
    assert containment.contained == ()
    assert containment.take(ABORTED, [run("a", 1), run("c", 3)])
    assert shapes(containment) == {"a": ((1,),)}


def test_a_death_in_a_pool_blames_the_only_run_of_that_model() -> None:
    containment = Containment()
    assert containment.take(ABORTED, [run("a", 1), pooled("b", 2)])
    assert shapes(containment) == {"b": ((2,),)}
    assert containment.deaths == {"run": 1}


def test_of_several_runs_in_one_pool_the_one_that_was_there_twice_is_to_blame() -> None:
    containment = Containment()
    for other in (3, 4):
        assert containment.contained == ()
        containment.take(ABORTED, [run("a", 1), pooled("b", 2), pooled("b", other)])
    assert shapes(containment) == {"b": ((2,),)}, "a runs in another pool, however often it was under way"


def test_a_signal_from_outside_blames_no_run() -> None:
    containment = Containment()
    for code in (-signal.SIGKILL, -signal.SIGTERM, 1, 0):
        assert not containment.take(code, [run("a", 1)])
    assert containment.contained == ()


def test_too_many_shapes_take_the_version_out() -> None:
    containment = Containment()
    for size in range(MOST_SHAPES + 2):
        containment.take(ABORTED, [run("a", size)])
    (only,) = containment.contained
    assert only.wholly
    assert len(only.shapes) == MOST_SHAPES


def test_what_is_no_longer_served_is_forgotten() -> None:
    containment = Containment()
    containment.take(ABORTED, [run("a", 1)])
    containment.keep([("a", "1", "digest")])
    assert shapes(containment) == {"a": ((1,),)}
    containment.keep([("a", "1", "another")])
    assert containment.contained == ()


def test_a_pardon_is_for_one_version_or_all() -> None:
    containment = Containment()
    containment.take(ABORTED, [run("a", 1)])
    assert containment.pardon("b", None) == []
    assert containment.pardon("a", "2") == []
    assert containment.pardon("a", "1") == [("a", "1")]
    assert containment.contained == ()


def test_a_load_is_contained_by_its_digest_and_kept_though_it_is_not_served() -> None:
    containment = Containment()
    load = Run("a", "1", "file and canary", (), signal.SIGFPE, loading=True)
    assert containment.take(-signal.SIGFPE, [load])
    assert containment.take(-signal.SIGFPE, [load]), "another worker that loads it dies of the same"
    containment.keep([])
    assert deadly(containment.contained) == {("a", "1", "file and canary")}
    assert containment.inputs == ()
    assert containment.pardon("a", None) == [("a", "1")]
    assert deadly(containment.contained) == frozenset()


def test_of_loads_the_oldest_are_forgotten_first() -> None:
    containment = Containment()
    for number in range(MOST_LOADS + 3):
        containment.take(ABORTED, [Run("a", "1", str(number), (), signal.SIGABRT, loading=True)])
    containment.keep([])
    assert {digest for _, _, digest in deadly(containment.contained)} == set(map(str, range(3, MOST_LOADS + 3)))


def of(*callers: int, size: int = 1) -> Run:
    return Run("a", "1", "digest", (size,), signal.SIGABRT, callers=callers)


def test_a_caller_is_refused_a_shape_and_after_three_all_of_them() -> None:
    containment = Containment()
    for size in range(MOST_SHAPES + 2):
        containment.take(ABORTED, [of(7, size=size)])
    (only,) = containment.contained
    assert not only.wholly
    assert only.shapes == ()
    assert only.refused == [(7, None)]
    assert containment.pardon("a", None) == [("a", "1")]


def test_a_shape_is_refused_for_all_when_three_callers_died_of_it() -> None:
    containment = Containment()
    for caller in range(1, MOST_CALLERS):
        containment.take(ABORTED, [of(caller)])
        containment.take(ABORTED, [of(caller)])  # which another worker had in its queue
    assert shapes(containment) == {"a": ()}
    containment.take(ABORTED, [of(MOST_CALLERS)])
    assert shapes(containment) == {"a": ((1,),)}
    assert not containment.contained[0].wholly


def test_three_callers_without_any_shape_take_the_version_out() -> None:
    containment = Containment()
    for caller in range(1, MOST_CALLERS + 1):
        for shape in range(MOST_SHAPES):
            assert not any(each.wholly for each in containment.contained)
            containment.take(ABORTED, [of(caller, size=10 * caller + shape)])
    assert containment.contained[0].wholly


def test_after_a_death_of_a_shared_run_requests_run_alone_and_no_caller_is_refused() -> None:
    containment = Containment()
    assert containment.take(ABORTED, [of(7, 8)])
    assert not containment.take(ABORTED, [of(7, 9)]), "a run that began before"
    (only,) = containment.contained
    assert (only.alone, only.refused) == (True, [])
    assert containment.take(ABORTED, [of(7)])
    assert containment.contained[0].refused == [(7, (1,))]
    containment.pardon("a", None)
    assert containment.contained == ()


def test_deaths_are_counted_by_cause() -> None:
    containment = Containment()
    for code, runs in ((0, []), (1, []), (-signal.SIGKILL, [of(7)]), (ABORTED, [of(7)]), (ABORTED, [])):
        containment.take(code, runs)
    assert containment.deaths == {"exit": 1, "signal": 1, "run": 1, "unattributed": 1}
