"""Signed versions of a real server: what is served, refused, told, and never swapped."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests import models
from tests.e2e.messages import Stub, arrays, request
from tests.e2e.test_admin import modelward, told
from tests.proxy.integrity.test_version_files import SWAPPER
from tests.signing import keys, signed
from tests.support import serve_process, wait_until

X = np.zeros((1, 4), np.float32)
RESTARTS = 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Model add of two versions, y = x + 1, of which the first is signed, with its canary."""
    root = models.repository(tmp_path / "models", {"add": {1: models.add_one(), 2: models.add_one()}})
    np.savez(root / "add/1/canary.npz", **{"input:x": X, "output:y": X + 1})
    signed(root / "add/1/model.onnx", keys(tmp_path))
    return root


def arguments(root: Path, require: str) -> list[str]:
    sets = [f"integrity.require={require}", f"integrity.keys.release={keys(root.parent).public}", "watch=false"]
    sets += ["audit={}", f"state={root.parent / 'state'}"]
    return [str(root), *(word for each in sets for word in ("--set", each))]


def records(root: Path) -> str:
    return "".join(file.read_text(errors="replace") for file in (root.parent / "state").rglob("*") if file.is_file())


def test_the_signed_are_served_and_the_others_refused_wherever_it_is_told(root: Path) -> None:
    with serve_process(*arguments(root, "true")) as server:
        assert any("signatures are required; 1 key trusted" in line for line in server.output)
        status = told(server, "status")
        (model,) = status["models"]
        assert (model["version"], model["signer"]) == ("1", "release")
        (refused,) = status["refused"]
        assert refused["version"] == "2" and refused["problems"][0]["what"] == "the version is not signed"
        digest = model["digest"]
        assert json.loads(modelward("model", "show", root / "add/1", "--json").stdout)["digest"] == digest
        with Stub(server.grpc) as stub:
            properties = stub.ask("ModelMetadata", name="add").properties
        assert (properties["digest"], properties["signer"]) == (digest, "release")
        assert server.metric("modelward_model_info", model="add", version="1", digest=digest, signer="release") == 1
        wait_until(lambda: digest in records(root), "the digest in the trail")

        # a version that is put elsewhere with its signature is not the one that was signed
        shutil.copytree(root / "add/1", root / "add/3")
        reloaded = modelward("reload", "--admin", server.admin)
        assert reloaded.returncode == 1 and "it is made for add/1, and this is add/3" in reloaded.stderr
        shutil.rmtree(root / "add/3")

        # another canary is another version, which was not signed
        np.savez(root / "add/1/canary.npz", **{"input:x": X, "output:y": X + 2})
        reloaded = modelward("reload", "--admin", server.admin)
        assert reloaded.returncode == 1 and "the file is not the one that was signed" in reloaded.stderr
        with Stub(server.grpc) as stub:
            assert (arrays(stub.infer(request("add", {"x": X})))["y"] == X + 1).all()
        wait_until(lambda: "is not the one that was signed" in records(root), "the refusal in the trail")


def test_where_a_warning_is_enough_all_are_served_and_the_doubt_is_told(root: Path) -> None:
    with serve_process(*arguments(root, "warn")) as server:
        doubt = "served, and no signature counts: the version is not signed"
        assert any(f"note: add version 2: {doubt}" in line for line in server.output)
        told_by_log = "model add version 2: it is served, and no signature of it counts: the version is not signed"
        assert any(told_by_log in line for line in server.output)
        models_told = told(server, "status")["models"]
        assert [each["unverified"] for each in models_told] == ["", "the version is not signed"]
        assert server.metric("modelward_unverified_versions") == 1
        assert "no signature of it counts" in modelward("status", "--admin", server.admin).stdout

        # signed by a tool that knows no versions; and an old version signed again as a new one
        signed(root / "add/2/model.onnx", keys(root.parent), name="2")
        shutil.copytree(root / "add/1", root / "add/3")
        signed(root / "add/3/model.onnx", keys(root.parent))
        assert modelward("reload", "--admin", server.admin).returncode == 0
        models_told = told(server, "status")["models"]
        assert [each["signer"] for each in models_told] == ["release"] * 3
        assert [each["unnamed"] for each in models_told] == [False, True, False]
        shown = modelward("status", "--admin", server.admin).stdout
        assert "signatures name no model and version, and would count for others: add version 2" in shown
        same = "add version 3 has the same files as add version 1"
        wait_until(lambda: any(same in line for line in server.output), "the warning in the log")
        wait_until(lambda: "it has the same files as add version 1" in records(root), "the same in the trail")


def test_a_file_that_is_swapped_over_and_over_is_never_served(tmp_path: Path) -> None:
    """Each worker that is started reads the files again, while another process swaps them."""
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    file = root / "add/1/model.onnx"
    signed(file, keys(tmp_path))
    other = onnx.load(file)
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full(1, 2, np.float32), "one"))
    places = [tmp_path / "good", tmp_path / "bad", root / "add/spare", file]
    places[0].write_bytes(file.read_bytes())
    places[1].write_bytes(other.SerializeToString())
    command = [sys.executable, "-c", SWAPPER, *map(str, places)]
    with (
        serve_process(*arguments(root, "true")) as server,
        Stub(server.grpc) as stub,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as swapper,
    ):
        assert swapper.stdout is not None and swapper.stdout.readline() == "swapping\n"
        try:
            for _ in range(RESTARTS):
                modelward("restart", "--admin", server.admin)
                assert (arrays(stub.infer(request("add", {"x": X})))["y"] == X + 1).all()
        finally:
            swaps = int(swapper.communicate()[0])
        assert swaps > 2 * RESTARTS
