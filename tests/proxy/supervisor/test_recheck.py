"""Files of what is served are compared with the disk; what differs is told once, and again when it is mended."""

import asyncio
import logging
from pathlib import Path

import numpy as np
import pytest

from modelward.audit.record import Record
from modelward.audit.recorder import NoTrail
from modelward.config.load import load
from modelward.config.schema import Config
from modelward.models.facts import Facts, FactsByVersion
from modelward.models.inventory import facts_of, take_inventory
from modelward.score import Profile
from modelward.supervisor import recheck
from modelward.supervisor.recheck import Recheck, integrity_stats
from tests import models
from tests.signing import keys, signed


class Trail(NoTrail):
    def __init__(self) -> None:
        self.records: list[Record] = []

    def note(self, record: Record) -> None:
        self.records.append(record)


class Server:
    """Two versions of a model as workers have told of them: signed, and unsigned where that is enough."""

    def __init__(self, folder: Path) -> None:
        models.repository(folder / "r", {"signed": models.add_one(), "loose": models.add_one()})
        self.signed, self.loose = folder / "r/signed/1", folder / "r/loose/1"
        x = np.zeros((1, 4), np.float32)
        for version in (self.signed, self.loose):
            np.savez(version / "canary.npz", **{"input:x": x, "output:y": x + 1})
        (self.signed / "notes").write_text("trained in May")
        signed(self.signed / "model.onnx", keys(folder))
        sets = [f"repository={folder / 'r'}", f"integrity.keys.release={keys(folder).public}"]
        self.config: Config = load(None, [*sets, "models.loose.integrity={require: warn}"], {})
        self.facts: dict[str, FactsByVersion] = {}
        self.reload()
        self.trail = Trail()
        self.events: list[str] = []
        self.recheck = Recheck(lambda: self.config, lambda: self.facts, lambda: self.trail, self._note)

    def reload(self) -> None:
        found = take_inventory(self.config)
        assert not found.problems
        self.facts = facts_of(found.models)

    def look(self) -> dict[tuple[str, str], str]:
        asyncio.run(self.recheck.look())
        return self.recheck.changed

    def _note(self, what: str, actor: str, why: str = "", *, kept: bool = True) -> None:
        self.events.append(f"{what}: {why}")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr("modelward.integrity.signature.in_child", lambda bounds, function, *given: function(*given))
    return Server(tmp_path)


async def _in_this_process(bounds, function, *given):
    return function(*given)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child does is done here."""
    monkeypatch.setattr(recheck, "in_child_meanwhile", _in_this_process)
    monkeypatch.setattr("os.nice", lambda by: 0)


def test_files_that_are_the_same_are_counted_and_not_told(server: Server) -> None:
    assert server.look() == {}  # by a child
    assert server.recheck.results == {"same": 2}
    assert server.trail.records == []
    told = integrity_stats(server.facts, server.recheck)
    assert (told.unverified, told.changed, dict(told.checks)) == (1, 0, {"same": 2})
    assert told.versions["signed", "1"] == (server.facts["signed"]["1"].digest, "release")
    assert told.versions["loose", "1"][1] == ""


@pytest.mark.usefixtures("here")
def test_a_file_that_changes_is_told_once_and_so_is_its_end(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    before = (server.signed / "notes").read_text()
    (server.signed / "notes").write_text("trained in June")
    (server.loose / "canary.npz").unlink()
    changed = server.look()
    assert "the file is not the one that was signed" in changed["signed", "1"]
    assert changed["loose", "1"].startswith("its digest is sha256:")
    assert server.look() == changed
    first, second = server.trail.records
    assert {first.model, second.model} == {"signed", "loose"}
    assert first.verb == "version.files_changed" and first.digest == server.facts[first.model]["1"].digest
    assert len(server.events) == 2 and server.events[0].startswith("files changed: model ")
    assert integrity_stats(server.facts, server.recheck).changed == 2
    (server.signed / "notes").write_text(before)
    assert [*server.look()] == [("loose", "1")]
    assert server.trail.records[-1].verb == "version.files_restored"
    assert "files of model signed version 1 are those that are served again" in caplog.text
    server.reload()
    assert server.look() == {}


@pytest.mark.usefixtures("here")
def test_a_version_that_is_gone_or_lost_its_signature_is_told(server: Server) -> None:
    (server.signed / "model.sig").unlink()
    (server.loose / "model.onnx").unlink()
    changed = server.look()
    assert "the version is not signed" in changed["signed", "1"]
    assert changed["loose", "1"] == "the version is gone"


@pytest.mark.usefixtures("here")
def test_what_was_reloaded_meanwhile_is_not_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def meanwhile(bounds, function, *given):
        (server.loose / "canary.npz").unlink()
        found = function(*given)
        server.facts = {**server.facts, "loose": {"1": Facts("a", False, False, "sha256:other")}}
        return found

    monkeypatch.setattr(recheck, "in_child_meanwhile", meanwhile)
    assert server.look() == {}


@pytest.mark.usefixtures("here")
def test_a_comparison_that_fails_is_counted_and_told(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    (server.signed.parent.parent.parent / "p256-0.pub").unlink()
    assert server.look() == {}
    assert server.recheck.results == {"failed": 2}
    assert "were not compared with what is served" in caplog.text


@pytest.mark.usefixtures("here")
def test_models_whose_signatures_are_not_read_are_not_compared(server: Server) -> None:
    sets = ["models.loose.integrity={require: off}", "models.signed.integrity={require: off}"]
    base = [f"repository={server.config.repository}", "integrity.keys.release=nothing"]
    server.config = load(None, [*base, *sets], {})
    (server.loose / "canary.npz").unlink()
    assert server.look() == {}
    assert server.recheck.results == {}


@pytest.mark.usefixtures("here")
def test_a_profile_of_another_name_is_compared_as_it_was_loaded(server: Server, tmp_path: Path) -> None:
    models.repository(tmp_path / "p", {"full": models.mlp()})
    profile = Profile.fit({"input": np.random.default_rng(0).normal(size=(200, 30))})
    profile.save(tmp_path / "p/full/1/mine.npz")
    sets = [f"repository={tmp_path / 'p'}", f"integrity.keys.release={keys(tmp_path).public}"]
    sets += ["integrity.require=warn", "models.full.anomaly={mode: tag, profile: mine.npz}"]
    server.config = load(None, sets, {})
    server.reload()
    assert server.look() == {}
    assert server.recheck.results == {"same": 1}
    (tmp_path / "p/full/1/mine.npz").write_bytes(b"x")
    assert [*server.look()] == [("full", "1")]


@pytest.mark.usefixtures("here")
def test_sealed_files_without_a_signature_are_not_compared(server: Server) -> None:
    sealed = Facts("a", False, False, "sha256:other", key="age1...")
    server.facts = {"loose": {"1": sealed}, "signed": server.facts["signed"]}
    assert server.look() == {}
    assert server.recheck.results == {"same": 1}
