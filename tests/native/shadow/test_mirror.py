"""Shadows at the data plane: what is refused, what the end of a server and of its models gives back."""

from __future__ import annotations

import gc

import pytest

from loadtests.fuzz.simulation import SimulatedLoop
from modelward_native.backend.engine import Engine, Remote
from modelward_native.backend.pool import Pool
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.request.route import Directory
from modelward_native.request.served import Served
from modelward_native.request.server import Server
from modelward_native.shadow.shadow import Shadow, link_shadow
from modelward_native.shadow.shadows import shadows
from modelward_native.timer.deadline import Wheel


def remote(name: str = "m", version: str = "1") -> Served:
    return Served(Engine(name, version, Remote((), (), Pool([]))))


def shadowed(region: Region) -> Served:
    """A version that is served with a shadow, by a server that has gone."""
    served = remote()
    link_shadow(served, Shadow(remote(version="2"), "2", b"fingerprint"), b"content")
    loop = SimulatedLoop()
    Server(Wheel(loop, loop.now_ns), Limiter(1024), Directory([[served]]), region)
    loop.close()
    return served


def versions() -> int:
    """That are alive, shadows among them."""
    return sum(isinstance(each, Served) for each in gc.get_objects())


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_version_that_has_gone_serves_its_shadow_no_more_however_it_is_freed(cyclic: bool) -> None:
    region = Region()
    served = shadowed(region)
    assert [*shadows(region)] == [("m", "1", "2")]
    if cyclic:
        served.fallbacks.append(served)
    del served
    gc.collect()
    assert not shadows(region)


def test_a_version_may_be_the_last_that_holds_the_region_and_be_freed_with_it() -> None:
    gc.collect()
    before = versions()
    for _ in range(10):
        served = shadowed(Region())
        served.fallbacks.append(served)
        assert versions() > before
        del served
        gc.collect()
    assert versions() == before


def test_a_version_that_another_region_counts_is_not_counted_by_the_first_any_more() -> None:
    first, second = Region(), Region()
    served = shadowed(first)
    loop = SimulatedLoop()
    Server(Wheel(loop, loop.now_ns), Limiter(1024), Directory([[served]]), second)
    loop.close()
    assert (len(shadows(first)), len(shadows(second))) == (0, 1)


@pytest.mark.parametrize(("name", "version"), [("é" * 65, "1"), ("m", "é" * 33)])
def test_names_that_have_no_room_behind_a_request_are_refused(name: str, version: str) -> None:
    with pytest.raises(ValueError, match="are the most"):
        Shadow(remote(name, version), version, b"")
