"""A small edition of the simulated fleet, and the autoscaler's algorithm by the examples that Kubernetes tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests import autoscale
from loadtests.scaling.fleet import simulate
from loadtests.scaling.hpa import Autoscaler, Behaviour, Policy
from loadtests.scaling.plot import plot
from loadtests.scaling.pods import Attack, Kind, kinds
from loadtests.scaling.traces import FLASH, RAMP, Trace, alike, attacks

HERE, HOP = kinds()
CROWDING = attacks(HERE.refusal)[-1]


@pytest.mark.parametrize(
    ("pods", "metrics", "wanted"),
    [
        (1, [200.0], 2),  # twice the target: twice the pods
        (2, [50.0, 50.0], 1),
        (4, [105.0] * 4, 4),  # within the tolerance
        (3, [110.1] * 3, 4),
        (4, [150.0, 150.0, None, None], 4),  # those without a metric are idle, and so no more are wanted
        (4, [250.0, 250.0, None, None], 5),
        (4, [50.0, 50.0, None, None], 3),  # here they are at the target
        (2, [None, None], 2),
    ],
)
def test_the_autoscaler_wants_as_many_pods_as_the_metric_is_of_the_target(
    pods: int, metrics: list[float | None], wanted: int
) -> None:
    assert Autoscaler(100.0).recommendation(pods, metrics) == wanted


def test_fewer_pods_wait_for_the_highest_of_five_minutes_and_more_come_at_once() -> None:
    scaler = Autoscaler(100.0)
    assert scaler.wanted(0, 2, [400.0] * 2) == 6  # four pods more, or twice as many, in 15 s
    assert scaler.wanted(15, 6, [133.0] * 6) == 8
    for now in range(30, 315, 15):
        assert scaler.wanted(now, 8, [10.0] * 8) == 8
    assert scaler.wanted(315, 8, [10.0] * 8) == 1


def test_a_policy_counts_what_has_changed_in_its_time() -> None:
    slow = Autoscaler(100.0, behaviour=Behaviour(down=(Policy(25, 60, percent=True),), down_window=0))
    assert slow.wanted(0, 8, [1.0] * 8) == 6
    assert slow.wanted(15, 6, [1.0] * 6) == 6
    assert slow.wanted(75, 6, [1.0] * 6) == 4


def test_a_flash_crowd_is_followed_once_and_refusals_end() -> None:
    run = simulate(alike(FLASH, 14), HERE)
    assert max(run.replicas) >= 8
    assert run.turns == 0
    assert 0 < run.refused < 0.1 * run.came


def test_a_ramp_is_followed_without_a_refusal() -> None:
    run = simulate(alike(RAMP, 16), HOP)
    assert max(run.replicas) >= 9
    assert (run.turns, run.refused) == (0, 0)


def test_a_ramp_is_followed_while_some_requests_are_refused_all_the_time() -> None:
    """40 a second of 1 kB each, before each pod, from its first second on; what is answered takes 3 ms."""
    noise = Attack(loop=40 * HERE.refusal, requests=40, size=1000)
    run = simulate(replace(alike(RAMP, 16), attack=lambda _: noise), Kind("large answers", 3e-3, HERE.refusal))
    assert max(run.replicas) >= 9
    assert run.refused < 0.01 * run.came


@pytest.mark.parametrize("attack", attacks(HERE.refusal), ids=lambda attack: attack.name)
def test_an_attack_that_is_refused_does_not_scale_the_fleet(attack: Trace) -> None:
    run = simulate(alike(attack, 20), HERE)
    assert run.changes == 0


def test_the_same_attack_scales_a_fleet_that_is_scaled_by_cpu() -> None:
    assert max(simulate(alike(CROWDING, 20), HERE, on_cpu=True).replicas) > 3


def test_the_same_seed_gives_the_same_fleet_and_another_one_another() -> None:
    runs = [simulate(alike(FLASH, 14), HERE, seed) for seed in (1, 1, 2)]
    assert runs[0].refused == runs[1].refused != runs[2].refused


def test_what_has_to_hold_is_judged_and_drawn() -> None:
    ramp, attack = simulate(alike(RAMP, 16), HERE), simulate(alike(CROWDING, 12), HERE)
    assert [bar.reached for bar in autoscale.bars([ramp, attack])] == [True, True, True]
    attack.replicas[-1] += 1
    ramp.refused = 1
    assert [bar.reached for bar in autoscale.bars([ramp, attack])] == [True, False, False]
    drawn = plot([ramp, attack], {attack.trace.name: attack})
    assert drawn.count("<polyline") == 5
    assert CROWDING.name in drawn
