"""Where promotions need approvals: what was approved is what is served, whatever comes into the repository."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from modelward.server.generation import reshared
from tests import models
from tests.e2e.test_admin import modelward
from tests.e2e.test_approvals import House, house, named
from tests.support import serving, wait_until

__all__ = ["house"]


def arrive(house: House, model: str, version: int) -> None:
    """A version is moved into the repository whole."""
    made = models.repository(house.folder / f"{model}-{version}", {model: {version: models.add_one_below(9)}})
    (made / model / str(version)).rename(house.root / model / str(version))


def taken(house: House) -> dict[tuple[str, str], str]:
    """Versions that the trail says were taken as approved, with their digests."""
    words = ("audit", "query", "--verb", "version.taken_as_approved", "--state", house.state, "--json")
    records = [json.loads(line) for line in modelward(*words).stdout.splitlines()]
    return {(each["model"], each["version"]): each["digest"] for each in records}


def test_a_version_that_answers_stays_although_its_files_go(house: House) -> None:
    with house.serving() as server:
        said = "".join(server.output)
        assert (
            "taken as approved, since approvals began with this start or reload: add version 1, other version 1" in said
        )
        shutil.rmtree(house.root / "other" / "1")
        wait_until(lambda: "its files are gone, and it answers" in "".join(server.output), "the removal to be found")
        assert named(server, "other") == "1", "it stays open"
        arrive(house, "other", 3)
        wait_until(lambda: "model other version 3 is new" in "".join(server.output), "others of its model go on")
        assert named(server, "other") == "1"
        assert named(server, "other", "3").startswith("NOT_FOUND")
    assert taken(house).keys() == {("add", "1"), ("other", "1")}
    assert all(digest.startswith("sha256:") for digest in taken(house).values())
    with house.serving() as server:
        assert "other is answered by no version; versions 2, 3 wait" in "".join(server.output)
        assert named(server, "other").startswith("NOT_FOUND"), "no version takes its place by itself"
        assert named(server, "add") == "1"
        house.propose(model="other")
        assert house.run("bob", "approve", "1").returncode == 0
        assert named(server, "other") == "2"
    assert taken(house).keys() == {("add", "1"), ("other", "1")}, "a restart takes nothing more"


def test_what_was_not_approved_answers_for_no_other_model(tmp_path: Path) -> None:
    operators = {"bindings": [{"user": 0, "roles": ["approver"]}]}
    needed = {"operators": operators, "approvals": {"promote": 1}, "listen__admin": f"unix:{tmp_path}/admin"}
    both = {"add": models.add_one(), "late": models.add_one()}
    with serving(tmp_path / "models", both, models__add__fallback=[{"model": "late"}], **needed) as server:
        generation = server.application.serving.current
        digests = {each.checked.name: each.checked.provenance.digest for each in generation.models}

        async def fallbacks(**approved: str) -> tuple[list[str], str]:
            after = reshared(generation, {}, {model: {"1": digest} for model, digest in approved.items()})
            (add,) = (each for each in after.models if each.checked.name == "add")
            return [each.name for each in add.served.fallbacks], add.gaps

        def told(**approved: str) -> tuple[list[str], str]:
            assert server.application.loop is not None
            return asyncio.run_coroutine_threadsafe(fallbacks(**approved), server.application.loop).result(10)

        assert told(**digests) == (["late"], "")
        for digest in ({}, {"late": "sha256:other"}):
            assert told(add=digests["add"], **digest) == ([], "its fallback late is not served")
