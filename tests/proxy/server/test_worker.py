"""A worker answers its supervisor, whatever becomes of what it was asked for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelward.config.load import load
from modelward.models.reader import Reader
from modelward.server.channel import Channel, Reloaded, Ruled
from modelward.server.worker import DEFECT, Worker
from modelward_native.region.region import Region


class Serving:
    """Fails as nothing is expected to."""

    async def follow_rules(self, config: Any) -> list[str]:
        raise ValueError("a defect")

    follow_models = follow_rules


def test_a_defect_while_it_follows_a_configuration_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []
    worker = Worker(Region(), cast(Channel, SimpleNamespace(send=told.append)), Reader())
    application = cast(Any, SimpleNamespace(serving=Serving()))
    config = load(sets=[], environ={})
    asyncio.run(worker._rule(application, config))
    asyncio.run(worker._reload(application, config))
    assert told == [Ruled((DEFECT,)), Reloaded(None, (DEFECT,))]
    assert caplog.text.count("ValueError: a defect") == 2
