"""Where promotions need approvals: what was approved is what is served, whatever comes into the repository."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

from modelward.server.generation import reshared
from tests import models
from tests.commands import modelward
from tests.e2e.test_approvals import PROPOSED, REASON, House, house, named
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


def test_what_was_approved_is_served_whatever_comes_or_goes_and_nothing_else(house: House, tmp_path: Path) -> None:
    with house.serving() as server:
        said = lambda: "".join(server.output)  # noqa: E731
        versions = "add version 1, other version 1, third version 1"
        assert f"taken as approved, since approvals began with this start or reload: {versions}" in said()
        assert named(server, "add", "1") == "1"
        assert named(server, "add", "2").startswith("NOT_FOUND"), "named or not"
        # the files of a version that answers go
        shutil.rmtree(house.root / "other" / "1")
        wait_until(lambda: "its files are gone, and it answers" in said(), "the removal to be found")
        assert named(server, "other") == "1", "it stays open"
        arrive(house, "other", 3)
        wait_until(lambda: "model other version 3 is new" in said(), "others of its model go on")
        assert named(server, "other") == "1"
        assert named(server, "other", "3").startswith("NOT_FOUND")
        # others come in their place
        files = models.repository(tmp_path / "files", {"add": {1: models.add_one_below(9)}})
        shutil.copy(files / "add/1/model.onnx", house.root / "add/1/new")
        os.replace(house.root / "add/1/new", house.root / "add/1/model.onnx")
        wait_until(lambda: "files are others than those that were approved" in said(), "it is refused")
        assert named(server, "add") == "1", "what was approved is served on"
        # a model that comes later
        beside = models.repository(tmp_path / "beside", {"late": {1: models.add_one()}})
        (beside / "late").rename(house.root / "late")
        wait_until(lambda: "model late version 1 is new" in said(), "the model to be loaded")
        assert named(server, "late").startswith("UNAVAILABLE")
        assert house.run("dan", "promote", "late", "1", "--steps", "100", *REASON).returncode == PROPOSED
        assert house.run("bob", "approve", "1").returncode == 0
        assert named(server, "late") == named(server, "late", "1") == "1"
    began = {("add", "1"), ("other", "1"), ("third", "1")}
    assert taken(house).keys() == began
    assert all(digest.startswith("sha256:") for digest in taken(house).values())
    with house.serving() as server:
        assert named(server, "late") == named(server, "third") == "1"
        assert named(server, "add").startswith("UNAVAILABLE"), "other files than were approved, at a start too"
        assert "model other: no version answers: version 1 should, and is not there" in "".join(server.output)
        assert named(server, "other").startswith("UNAVAILABLE"), "no version takes its place by itself"
        assert named(server, "other", "2").startswith("UNAVAILABLE")
        house.propose(model="other")
        assert house.run("bob", "approve", "2").returncode == 0
        assert named(server, "other") == "2"
    assert taken(house).keys() == began, "a restart takes nothing more"


def test_what_was_not_approved_answers_for_no_other_model(tmp_path: Path) -> None:
    operators = {"bindings": [{"user": 0, "roles": ["approver"]}]}
    needed = {"operators": operators, "approvals": {"promote": 1}, "listen__admin": f"unix:{tmp_path}/admin"}
    both = {"add": models.add_one(), "late": models.add_one()}
    with serving(tmp_path / "models", both, models__add__fallback=[{"model": "late"}], **needed) as server:
        generation = server.application.serving.current
        digests = {each.checked.name: each.checked.provenance.digest for each in generation.models}

        async def fallbacks(**approved: str) -> tuple[list[str], str]:
            shares = {"add": {"1": 1}, "late": {"1": 1}}
            after = reshared(generation, shares, {model: {"1": digest} for model, digest in approved.items()})
            (add,) = (each for each in after.models if each.checked.name == "add")
            return [each.name for each in add.served.fallbacks], add.gaps

        def told(**approved: str) -> tuple[list[str], str]:
            assert server.application.loop is not None
            return asyncio.run_coroutine_threadsafe(fallbacks(**approved), server.application.loop).result(10)

        assert told(**digests) == (["late"], "")
        for digest in ({}, {"late": "sha256:other"}):
            assert told(add=digests["add"], **digest) == ([], "its fallback late is not served")
