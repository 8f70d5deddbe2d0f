"""What upstreams may say, played on the simulation that the fuzzer uses: nothing is left behind, whatever it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.fuzz.outgoing_script import RemoteSite, play
from loadtests.fuzz.outgoing_seeds import programs
from loadtests.fuzz.simulation import SimulatedLoop

Player = Callable[[bytes], None]


@pytest.fixture(scope="module")
def site() -> RemoteSite:
    return RemoteSite()


@pytest.fixture(scope="module")
def player(site: RemoteSite) -> Iterator[Player]:
    loop = SimulatedLoop()
    unheard: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, unheard.append

    def played(data: bytes) -> None:
        play(data, loop, site)
        assert not unheard

    yield played
    sys.unraisablehook = before
    loop.close()


def answered(site: RemoteSite, name: str) -> int:
    """Requests for a model that ended with status OK."""
    served = next(model for model in site.models if model.name == name)
    return int(served.engine.totals()["codes"].get(0, 0))


def test_a_sound_answer_reaches_the_client(player: Player, site: RemoteSite) -> None:
    before = answered(site, "bare")
    player(programs()["answer-0-0"])
    assert answered(site, "bare") == before + 1


@pytest.mark.parametrize("name", programs())
def test_every_seed_leaves_nothing_behind(player: Player, name: str) -> None:
    player(programs()[name])


@settings(max_examples=1000, deadline=None)
@given(data=st.binary(min_size=1, max_size=300))
def test_whatever_upstreams_say_nothing_is_left_behind(player: Player, data: bytes) -> None:
    player(data)
