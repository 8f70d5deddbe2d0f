"""What no temporary limit can be for."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest

from modelward.config.rate_limit import Limit
from modelward.config.schema import Config
from modelward.limits.temporary import TemporaryLimit
from modelward.problem import ProblemsFound
from modelward.supervisor.temporary_limits import TemporaryLimits


def test_without_access_no_caller_has_an_identity_that_could_be_limited() -> None:
    def not_asked() -> Any:
        raise AssertionError("nothing is done")

    limits = TemporaryLimits(mock.Mock, Config, not_asked)
    limit = TemporaryLimit("identity", "team-a", Limit.model_validate({"rate": "1/h", "burst": 1}), 0.0)
    with pytest.raises(ProblemsFound, match="no caller has an identity"):
        asyncio.run(limits.set(limit))
    assert limits.limits == {}
