"""Everything a configuration names is loaded and held against each other before anything is served."""

import os
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelward.config.load import load
from modelward.config.model import Fallback, ModelSettings
from modelward.config.schema import Config
from modelward.models.guards import guards, off
from modelward.models.inventory import Inventory, take_inventory
from modelward.score import Profile
from tests import models


@pytest.fixture(scope="module")
def trained() -> Profile:
    """A profile of the MLP's 30 features."""
    return Profile.fit({"input": np.random.default_rng(0).normal(size=(200, 30))})


def inventory(repository: Path, *sets: str) -> Inventory:
    return take_inventory(load(None, [f"repository={repository}", *sets], {}))


def only_problem(found: Inventory) -> str:
    (problem,) = found.problems
    return str(problem)


def test_every_version_of_every_model_is_loaded(tmp_path: Path) -> None:
    models.repository(tmp_path, {"b": {1: models.mlp(), 10: models.mlp(seed=1)}, "a": models.strings()})
    found = inventory(tmp_path)
    assert found.problems == ()
    assert [(model.name, model.version) for model in found.models] == [("a", "1"), ("b", "1"), ("b", "10")]
    assert found.models[1].artifact.sha256 != found.models[2].artifact.sha256


def test_without_a_repository_there_is_nothing_to_serve() -> None:
    assert "there is nothing to serve" in only_problem(take_inventory(load(None, environ={})))


def test_a_model_with_a_problem_is_left_out_and_told_beside_the_others(tmp_path: Path) -> None:
    models.repository(
        tmp_path, {"bad": models.sequence_output(), "good": models.mlp(), "worse": models.custom_domain()}
    )
    found = inventory(tmp_path)
    assert [model.name for model in found.models] == ["good"]
    assert [problem.where.split("/")[-3] for problem in found.problems] == ["bad", "worse"]


def test_a_chain_of_a_model_and_a_value_is_compiled(tmp_path: Path) -> None:
    models.repository(tmp_path, {"full": models.mlp(hidden=64), "lite": models.mlp(hidden=2)})
    fallbacks = "models.full.fallback=[{model: lite}, {value: {label: 0, probabilities: [[0.5, 0.5]]}}]"
    full = inventory(tmp_path, fallbacks).models[0]
    assert full.fallbacks[0].model == "lite"
    assert full.fallbacks[1].value is not None
    assert [constant.name for constant in full.fallbacks[1].value.outputs] == ["label", "probabilities"]


def test_a_fallback_that_is_not_there_or_cannot_stand_in_is_refused(tmp_path: Path) -> None:
    models.repository(tmp_path, {"full": models.mlp(), "other": models.two_inputs(), "wide": models.mlp(classes=3)})
    missing = Config(repository=tmp_path, models={"full": ModelSettings(fallback=(Fallback(model="none"),))})
    assert "the repository has no model 'none'" in only_problem(take_inventory(missing))
    told = only_problem(inventory(tmp_path, "models.full.fallback=[{model: wide}]"))
    assert "outputs differ: probabilities FP32 [batch, 2] here, probabilities FP32 [batch, 3] there" in told
    told = " ".join(map(str, inventory(tmp_path, "models.full.fallback=[{model: other}]").problems))
    assert "inputs differ: it has no input" in told


def test_a_value_that_does_not_fit_the_outputs_is_refused(tmp_path: Path) -> None:
    models.repository(tmp_path, {"full": models.mlp()})
    told = only_problem(inventory(tmp_path, "models.full.fallback=[{value: {label: 0, probabilities: [[0.5]]}}]"))
    assert told.startswith("model full version 1, fallback[0]: the value of probabilities does not fit")


def test_a_profile_in_the_repository_is_observed(tmp_path: Path, trained: Profile) -> None:
    models.repository(tmp_path, {"full": models.mlp()})
    assert inventory(tmp_path).models[0].profile is None
    trained.save(tmp_path / "full/1/profile.npz")
    model = inventory(tmp_path).models[0]
    assert model.profile is not None
    assert (model.profile_file, model.settings.anomaly.mode) == (tmp_path / "full/1/profile.npz", "observe")
    assert inventory(tmp_path, "models.full.anomaly.mode=off").models[0].profile is None


def test_a_profile_of_another_name_is_relative_to_the_version(tmp_path: Path, trained: Profile) -> None:
    models.repository(tmp_path, {"full": models.mlp()})
    trained.save(tmp_path / "full/1/other.npz")
    (model,) = inventory(tmp_path, "models.full.anomaly.profile=other.npz").models
    assert model.profile_file == tmp_path / "full/1/other.npz"


@pytest.mark.parametrize("setting", ["mode=tag", "mode=reject", "profile=none.npz"])
def test_a_mode_that_needs_a_profile_says_how_to_fit_one(tmp_path: Path, setting: str) -> None:
    models.repository(tmp_path, {"full": models.mlp()})
    told = only_problem(inventory(tmp_path, f"models.full.anomaly.{setting}"))
    assert "needs a profile" in told
    assert "modelward profile fit" in told


def test_a_profile_of_another_model_or_a_damaged_one_is_refused(tmp_path: Path, trained: Profile) -> None:
    models.repository(tmp_path, {"full": models.mlp(features=29)})
    trained.save(tmp_path / "full/1/profile.npz")
    assert "does not fit the model" in only_problem(inventory(tmp_path))
    (tmp_path / "full/1/profile.npz").write_bytes(b"PK\x03\x04 nothing")
    assert "is not a profile" in only_problem(inventory(tmp_path))


def test_a_profile_that_links_out_of_the_repository_is_refused(tmp_path: Path, trained: Profile) -> None:
    models.repository(tmp_path / "repository", {"full": models.mlp()})
    trained.save(tmp_path / "elsewhere.npz")
    os.symlink(tmp_path / "elsewhere.npz", tmp_path / "repository/full/1/profile.npz")
    assert "leaves the model's folder" in only_problem(inventory(tmp_path / "repository"))


def test_guards_that_are_off_are_named(tmp_path: Path) -> None:
    models.repository(tmp_path, {"full": models.mlp(), "lite": models.mlp()})
    assert off(guards(load(None, environ={}), inventory(tmp_path).models[0])) == [
        "limits",
        "deadline",
        "anomaly",
        "fallback",
    ]
    sets = [
        f"repository={tmp_path}",
        "limits.total.rate=500/s",
        "models.full={limit: {rate: 60/m}, deadline: 50ms}",
        "models.full.fallback=[{model: lite}, {value: {label: 0, probabilities: 0}}]",
    ]
    config = load(None, sets, {})
    assert guards(config, take_inventory(config).models[0]) == {
        "limits": "model 1/s, total 500/s",
        "deadline": "50ms",
        "anomaly": "off",
        "fallback": "lite > value",
    }


HOSTILE = b"\x93NUMPY\2\0" + struct.pack("<I", 5000) + b"(" * 5000


@pytest.mark.parametrize("name", ["x.npy", "canary.npz", "profile.npz", "model.sig", "x.npz", "../model.yaml"])
def test_hostile_files_of_one_version_keep_no_other_from_being_served(tmp_path: Path, name: str) -> None:
    """An array whose header numpy raises tokenize.TokenError for, in each place where one is read."""
    models.repository(tmp_path, {"bad": models.add_one(), "good": models.add_one()})
    if name.endswith(".npz"):
        with zipfile.ZipFile(tmp_path / "bad" / "1" / name, "w") as archive:
            archive.writestr("input:x.npy", HOSTILE)
    else:
        (tmp_path / "bad" / "1" / name).write_bytes(HOSTILE)
    assert "good" in [model.name for model in inventory(tmp_path).models]


WORKS = {
    "scan_at_load": "modelward.models.model_file",
    "load_canary": "modelward.models.inventory",
    "name_of": "modelward.models.inventory",
    "root_digest": "modelward.integrity.version_files",
    "from_model_folder": "modelward.config.load",
}


@pytest.mark.parametrize("work", WORKS)
def test_whatever_the_files_of_one_model_raise_is_a_problem_of_that_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, work: str
) -> None:
    models.repository(tmp_path, {"bad": models.add_one(), "good": models.add_one()})
    if work == "load_canary":
        (tmp_path / "bad" / "1" / "canary.npz").write_bytes(b"any")
    module, calls = sys.modules[WORKS[work]], []
    real = getattr(module, work)

    def fail(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:  # "bad" is the first
            raise ZeroDivisionError("of one model")
        return real(*arguments, **named)

    monkeypatch.setattr(module, work, fail)
    found = inventory(tmp_path)
    assert [model.name for model in found.models] == ["good"]
    assert "its files cannot be checked: ZeroDivisionError was raised" in only_problem(found)
    assert "of one model" in caplog.text and "Traceback" in caplog.text
