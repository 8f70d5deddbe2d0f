"""Servers that take seconds to start, each once for all tests that share it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from loadtests.race.contestant import Absent
from tests.peers.peer import Kind, Peer, Start, running

Prepare = Callable[[Kind], Start]
Peers = Callable[[Kind], Peer]


@pytest.fixture(scope="session")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """How to start a kind of server; skips the test, with the reason, where it is not installed."""
    starts: dict[str, Start] = {}

    def of(kind: Kind) -> Start:
        if kind.name not in starts:
            try:
                starts[kind.name] = kind.prepare(tmp_path_factory.mktemp(kind.name))
            except Absent as reason:
                pytest.skip(str(reason))
        return starts[kind.name]

    return of


@pytest.fixture(scope="session")
def peer(prepare: Prepare) -> Iterator[Peers]:
    """The running server of a kind, shared: no test stops it."""
    peers: dict[str, Peer] = {}
    with contextlib.ExitStack() as stack:

        def of(kind: Kind) -> Peer:
            if kind.name not in peers:
                peers[kind.name] = stack.enter_context(running(prepare(kind)))
            return peers[kind.name]

        yield of
