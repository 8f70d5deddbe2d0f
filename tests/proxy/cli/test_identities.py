"""What `modelward identities` shows of what a server tells."""

from types import SimpleNamespace
from typing import Any

import pytest

from modelward.admin.messages import message
from modelward.cli.identities import _list


def shown(capsys: pytest.CaptureFixture[str], **told: Any) -> str:
    client: Any = SimpleNamespace(call=lambda *_, **__: message("SuspectsResponse", **told))
    assert _list(client, json=False, model="", most=50, least="tag") == 0
    return capsys.readouterr().out


HELD = {"name": "team-a", "model": "m", "step": "block", "until": 2e9, "by": "carol", "reason": "theft"}


def test_what_operators_hold_is_shown_while_no_model_watches_identities(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, restrictions=[HELD])
    assert "no model watches identities" in out
    assert "is not obeyed now" in out
    assert "held by operators" in out
    assert "team-a" in out


def test_where_nothing_is_watched_and_held_that_is_all_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == "no model watches identities: set models.NAME.detection\n"
    assert shown(capsys, watched=["m"]) == "no identity is suspected\n"
