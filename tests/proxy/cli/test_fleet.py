"""`modelward status --fleet` and promotions of a fleet as a terminal shows them: whose counts stand where."""

from __future__ import annotations

from typing import Any, cast

import pytest

from modelward.admin.messages import message
from modelward.cli import fleet
from modelward.cli.admin import Client
from modelward.cli.promote import progress


class Asked:
    """A server that leads, and one that follows it. counted: requests of the version, and of all, on each."""

    def __init__(self, *counted: tuple[int, int]) -> None:
        self._counted = counted

    def call(self, method: str, seconds: float, **fields: object) -> Any:
        servers = []
        for number, (some, all_) in enumerate(self._counted):
            of = message("FleetModel", model="m", version="2", step="50 %", requests=some, all_requests=all_)
            told = {"replica": f"s{number}", "release": f"0.{number}.0", "state": "ready", "leads": number == 0}
            servers.append(message("FleetServer", **told, models=[of]))
        return message("StatusResponse", fleet="modelward", fleet_servers=servers)


def shown(capsys: pytest.CaptureFixture[str], *counted: tuple[int, int]) -> str:
    assert fleet.show(cast(Client, Asked(*counted)), json=False) == 0
    return capsys.readouterr().out


def test_it_says_whose_requests_are_counted_and_by_which_is_judged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = shown(capsys, (9015, 17_954), (4480, 8977))
    assert "9015 of 17954, all servers" in told
    assert "4480 of 8977, its own" in told
    assert fleet.COUNTED in told
    assert all(release in told for release in ("0.0.0", "0.1.0"))


def test_where_nothing_is_counted_nothing_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, (0, 0))
    assert "0 of 0" not in told and fleet.COUNTED not in told


def test_a_server_that_follows_says_who_judges_before_its_own_counts() -> None:
    step = {"phase": "stepping", "requests": 5, "all_requests": 10}
    assert progress(message("Promotion", judge="s0", **step)) == [
        "s0 judges, by what all servers of the fleet have counted (its modelward status); this server alone:",
        "5 of 10 requests in this step",
    ]
    assert progress(message("Promotion", **step)) == ["5 of 10 requests in this step"]
    assert progress(message("Promotion", judge="s0", phase="done")) == []
    (line,) = progress(message("Promotion", judge="s0", phase="stepping"))
    assert line.startswith("s0 judges") and not line.endswith(":"), "nothing follows"
