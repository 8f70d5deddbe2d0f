"""`modelward shadow report` against an admin API whose operator the test plays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from modelward.admin.server import AdminServer
from modelward.cli.app import main
from modelward.problem import Problem, ProblemsFound
from modelward.shadow.report import data
from tests.proxy.admin.test_server import ANYWHERE, Played
from tests.proxy.shadow.test_report import report


class Telling(Played):
    """Of a model `fraud`, with the shadow 2 of version 1, and `new`, of which nothing was counted."""

    async def shadows(self, model: str) -> Sequence[Mapping[str, Any]]:
        if model not in ("fraud", "new"):
            raise ProblemsFound([Problem("there is no such model", f"model {model}", how="Look at modelward status")])
        return [data(report(400, shift=0.2))] if model == "fraud" else []


def shadow(*arguments: str) -> int:
    """The exit code of the command, beside a server that answers it."""

    async def run() -> int:
        server = await AdminServer.start(ANYWHERE, None, Telling())
        try:
            words = ["shadow", "report", *arguments, "--admin", str(server.address)]
            return await asyncio.to_thread(main, words)
        finally:
            await server.stop()

    return asyncio.run(run())


def test_a_report_is_shown_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert shadow("fraud") == 0
    told = capsys.readouterr().out
    assert "fraud: shadow 2 of 1 is worse after 400 pairs" in told
    assert "score up to" in told


def test_json_has_a_verdict_for_each_shadow(capsys: pytest.CaptureFixture[str]) -> None:
    assert shadow("fraud", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["problems"] == []
    assert [(each["shadow"], each["verdict"], each["pairs"]) for each in document["shadows"]] == [("2", "worse", 400)]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("other",), "there is no such model"),
        (("new",), "no worker has counted anything of it yet"),
        (("fraud", "7"), "there is no such shadow"),
    ],
)
def test_what_there_is_not_is_told_with_an_exit_code(
    arguments: tuple[str, ...], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shadow(*arguments) == 1
    assert what in capsys.readouterr().err
    assert shadow(*arguments, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["problems"][0]["what"], document["shadows"]) == (what, [])


def test_one_of_several_shadows_is_shown_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert shadow("fraud", "2") == 0
    assert "shadow 2 of 1" in capsys.readouterr().out


def test_a_server_that_is_not_there_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shadow", "report", "fraud", "--admin", "127.0.0.1:1"]) == 2
    assert "no server answers at 127.0.0.1:1" in capsys.readouterr().err
