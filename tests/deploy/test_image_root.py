"""The root that `make image-root` makes, started as a container would be: skipped where it was not made."""

from __future__ import annotations

import asyncio

import pytest

from loadtests import image
from loadtests.tools.roots import Missing

pytestmark = [
    pytest.mark.skipif(not image.FOLDER.is_dir(), reason="make image-root was not run here"),
    pytest.mark.slow,
]


def test_a_user_without_rights_writes_only_state_and_finds_no_shell() -> None:
    try:
        image.looked(image.FOLDER)
    except Missing as error:
        pytest.skip(str(error))


def test_a_drain_under_load_loses_no_request() -> None:
    try:
        outcome, seconds, meanwhile, code = asyncio.run(image.drained(image.FOLDER, 2_000))
    except Missing as error:
        pytest.skip(str(error))
    assert outcome == {"answered": 2_000}
    assert meanwhile > 0
    assert seconds < image.GRACE_SECONDS
    assert code == 0
