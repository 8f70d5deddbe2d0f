from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from modelward.server.methods import Dispatcher, build
from modelward.server.readiness import Readiness
from tests.proxy.server.adapter import Served, served
from tests.proxy.server.catalogs import catalog


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
def server(readiness: Readiness) -> Iterator[Served]:
    with served(Dispatcher(build(catalog, readiness))) as running:
        yield running


@pytest.fixture
def channel(server: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as opened:
        yield opened
