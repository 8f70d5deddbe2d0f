"""Signed versions of a real server: what is served, refused, told, and never swapped. Each test has its own model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests import models
from tests.commands import modelward
from tests.e2e.messages import Stub, arrays, request
from tests.e2e.test_admin import told
from tests.proxy.integrity.test_version_files import SWAPPER
from tests.signing import keys, signed
from tests.support import ServerProcess, serve_process, wait_until

X = np.zeros((1, 4), np.float32)
STRICT, LAX, SWAPPED = "strict", "lax", "swapped"


@dataclass
class Place:
    """A server, its repository and what lies beside it."""

    folder: Path
    server: ServerProcess = field(init=False)
    _used: set[str] = field(default_factory=set)

    @property
    def root(self) -> Path:
        return self.folder / "models"

    def lay(self, model: str) -> Path:
        """Two versions, y = x + 1, of which the first is signed, with its canary."""
        models.repository(self.root, {model: {1: models.add_one(), 2: models.add_one()}})
        np.savez(self.root / model / "1/canary.npz", **{"input:x": X, "output:y": X + 1})
        signed(self.root / model / "1/model.onnx", keys(self.folder))
        return self.root / model

    def fresh(self, model: str) -> Path:
        """As at the start, also where a test is run again."""
        if model in self._used:
            shutil.rmtree(self.root / model)
            self.lay(model)
            self.reload()
        self._used.add(model)
        return self.root / model

    def reload(self) -> Any:
        return modelward("reload", "--admin", self.server.admin)

    def status(self, part: str, model: str) -> list[Any]:
        return [each for each in told(self.server, "status")[part] if each["name"] == model]

    def says(self, line: str) -> bool:
        return any(line in each for each in self.server.output)

    def records(self) -> str:
        files = [file for file in (self.folder / "state").rglob("*") if file.is_file()]
        return "".join(file.read_text(errors="replace") for file in files)

    def answer(self, model: str) -> Any:
        with Stub(self.server.grpc) as stub:
            return arrays(stub.infer(request(model, {"x": X})))["y"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("signed"))
    for model in (STRICT, LAX, SWAPPED):
        place.lay(model)
    shutil.rmtree(place.root / SWAPPED / "2")
    sets = (
        "integrity.require=true",
        f"integrity.keys.release={keys(place.folder).public}",
        f"models.{LAX}.integrity.require=warn",
        "watch=false",
        "workers=1",
        "audit={}",
        f"state={place.folder / 'state'}",
    )
    with serve_process(place.root, *(word for each in sets for word in ("--set", each))) as place.server:
        yield place


def test_a_file_that_is_swapped_over_and_over_is_never_served(place: Place) -> None:
    """Each worker that is started reads the files again, while another process swaps them."""
    file = place.root / SWAPPED / "1/model.onnx"
    other = onnx.load(file)
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full(1, 2, np.float32), "one"))
    places = [place.folder / "good", place.folder / "bad", place.root / SWAPPED / "spare", file]
    places[0].write_bytes(file.read_bytes())
    places[1].write_bytes(other.SerializeToString())
    command = [sys.executable, "-c", SWAPPER, *map(str, places)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as swapper:
        assert swapper.stdout is not None and swapper.stdout.readline() == "swapping\n"
        try:
            modelward("restart", "--admin", place.server.admin)
            assert (place.answer(SWAPPED) == X + 1).all()
        finally:
            swaps = int(swapper.communicate()[0])
        assert swaps > 2


def test_the_signed_are_served_and_the_others_refused_wherever_it_is_told(place: Place) -> None:
    folder, server = place.fresh(STRICT), place.server
    assert place.says("signatures are required; 1 key trusted")
    (model,) = place.status("models", STRICT)
    assert (model["version"], model["signer"]) == ("1", "release")
    (refused,) = place.status("refused", STRICT)
    assert refused["version"] == "2" and refused["problems"][0]["what"] == "the version is not signed"
    digest = model["digest"]
    assert json.loads(modelward("model", "show", folder / "1", "--json").stdout)["digest"] == digest
    with Stub(server.grpc) as stub:
        properties = stub.ask("ModelMetadata", name=STRICT).properties
    assert (properties["digest"], properties["signer"]) == (digest, "release")
    assert server.metric("modelward_model_info", model=STRICT, version="1", digest=digest, signer="release") == 1
    wait_until(lambda: digest in place.records(), "the digest in the trail")

    # a version that is put elsewhere with its signature is not the one that was signed
    shutil.copytree(folder / "1", folder / "3")
    reloaded = place.reload()
    assert reloaded.returncode == 1 and f"it is made for {STRICT}/1, and this is {STRICT}/3" in reloaded.stderr
    shutil.rmtree(folder / "3")

    # another canary is another version, which was not signed
    np.savez(folder / "1/canary.npz", **{"input:x": X, "output:y": X + 2})
    reloaded = place.reload()
    assert reloaded.returncode == 1 and "the file is not the one that was signed" in reloaded.stderr
    assert (place.answer(STRICT) == X + 1).all()
    wait_until(lambda: "is not the one that was signed" in place.records(), "the refusal in the trail")
    np.savez(folder / "1/canary.npz", **{"input:x": X, "output:y": X + 1})


def test_where_a_warning_is_enough_all_are_served_and_the_doubt_is_told(place: Place) -> None:
    folder, server = place.fresh(LAX), place.server
    doubt = "served, and no signature counts: the version is not signed"
    assert place.says(f"note: {LAX} version 2: {doubt}")
    assert place.says(f"model {LAX} version 2: it is served, and no signature of it counts: the version is not signed")
    assert [each["unverified"] for each in place.status("models", LAX)] == ["", "the version is not signed"]
    assert server.metric("modelward_unverified_versions") == 1
    assert "no signature of it counts" in modelward("status", "--admin", server.admin).stdout

    # signed by a tool that knows no versions; and an old version signed again as a new one
    signed(folder / "2/model.onnx", keys(place.folder), name="2")
    shutil.copytree(folder / "1", folder / "3")
    signed(folder / "3/model.onnx", keys(place.folder))
    assert f"model {LAX} version 3 is new" in place.reload().stdout
    served = place.status("models", LAX)
    assert [each["signer"] for each in served] == ["release"] * 3
    assert [each["unnamed"] for each in served] == [False, True, False]
    shown = modelward("status", "--admin", server.admin).stdout
    assert f"signatures name no model and version, and would count for others: {LAX} version 2" in shown
    wait_until(lambda: place.says(f"{LAX} version 3 has the same files as {LAX} version 1"), "the warning in the log")
    wait_until(lambda: f"it has the same files as {LAX} version 1" in place.records(), "the same in the trail")


def test_settings_that_would_end_the_service_of_versions_are_not_followed_by_any_worker(tmp_path: Path) -> None:
    place, config = Place(tmp_path), tmp_path / "modelward.yaml"
    place.lay(STRICT)
    place.lay(LAX)

    def write(require: str, more: str = "") -> None:
        key = keys(tmp_path).public
        trust = f"integrity: {{require: {require}, interval: 1h, keys: {{release: {key}}}}}"
        config.write_text(f"repository: {place.root}\nwatch: false\nworkers: 2\n{trust}\n{more}")

    def answering() -> set[str]:
        """What eight connections are told by, which two workers share."""
        found = set()
        for _ in range(8):
            with Stub(place.server.grpc) as stub:
                found |= {stub.infer(request(model, {"x": X})).model_version for model in (STRICT, LAX)}
        return found

    write("warn")
    with serve_process("--config", config, "--set", "listen.admin=127.0.0.1:0") as place.server:
        write("true", "limits: {streams: 64}\n")
        reloaded = place.reload()
        assert reloaded.returncode == 1
        assert reloaded.stderr.count("it is served, and integrity would end that") == 2
        assert reloaded.stderr.count("why: the version is not signed") == 2
        for model in (STRICT, LAX):
            assert f"model {model} version 2" in reloaded.stderr
        assert "version 1" not in reloaded.stderr, "that one is signed"
        assert "limits.streams" in reloaded.stdout, "what is not about models is followed"
        first = place.server.workers()[0]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: place.says("starting another"), "the end in the log")
        wait_until(lambda: place.server.metric("modelward_workers") == 2, "another worker")
        assert answering() == {"2"}, "in the worker that has started since, too"
        # mended in both ways
        signed(place.root / STRICT / "2/model.onnx", keys(tmp_path))
        shutil.rmtree(place.root / LAX / "2")
        reloaded = place.reload()
        assert (reloaded.returncode, reloaded.stderr) == (0, "")
        assert f"model {LAX} version 2 is gone" in reloaded.stdout and "integrity.require" in reloaded.stdout
        assert answering() == {"1", "2"}
