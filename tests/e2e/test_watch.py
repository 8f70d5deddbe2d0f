"""What is served follows the files: new versions, an edited configuration, another repository in its place."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.e2e.messages import Stub, request
from tests.e2e.test_upstreams import ROW
from tests.models import add_one, identity, repository
from tests.support import ServerProcess, serve_process, wait_until


def version_of(server: ServerProcess) -> str:
    with Stub(server.grpc) as stub:
        return str(stub.infer(request("add", {"x": ROW})).model_version)


def put(root: Path, version: int, model: bytes) -> None:
    """As a deployment does: written elsewhere, then moved into place."""
    beside = root.parent / "incoming"
    beside.mkdir()
    (beside / "model.onnx").write_bytes(model)
    os.replace(beside, root / "add" / str(version))


def test_a_new_version_is_served_without_being_asked_for(tmp_path: Path) -> None:
    root = repository(tmp_path / "models", {"add": add_one()})
    with serve_process(root) as server:
        put(root, 2, identity())
        wait_until(lambda: version_of(server) == "2", "the new version")
        shutil.rmtree(root / "add" / "2")
        wait_until(lambda: version_of(server) == "1", "the old version")


def test_a_version_that_is_half_written_takes_nothing_down_and_is_served_once_it_is_whole(tmp_path: Path) -> None:
    root = repository(tmp_path / "models", {"add": add_one()})
    model = identity()
    with serve_process(root) as server:
        (root / "add" / "2").mkdir()
        (root / "add" / "2" / "model.onnx").write_bytes(model[: len(model) // 2])
        wait_until(lambda: server.metric("modelward_reloads_total", result="partial") >= 1, "the refusal")
        assert version_of(server) == "1"
        (root / "add" / "2" / "model.onnx").write_bytes(model)
        wait_until(lambda: version_of(server) == "2", "the whole file")


def test_a_repository_that_is_a_link_may_be_turned_to_another(tmp_path: Path) -> None:
    first = repository(tmp_path / "first", {"add": add_one()})
    second = repository(tmp_path / "second", {"add": identity()})
    (second / "add" / "1").rename(second / "add" / "7")
    link, beside = tmp_path / "models", tmp_path / "next"
    link.symlink_to(first)
    with serve_process(link) as server:
        beside.symlink_to(second)
        os.replace(beside, link)
        wait_until(lambda: version_of(server) == "7", "the other repository")


def test_a_repository_that_the_configuration_names_later_is_followed_too(tmp_path: Path) -> None:
    first = repository(tmp_path / "first", {"add": add_one()})
    second = repository(tmp_path / "second", {"add": {3: add_one()}})
    file = tmp_path / "modelward.yaml"
    file.write_text(yaml.safe_dump({"repository": str(first)}))
    with serve_process("--config", file) as server:
        file.write_text(yaml.safe_dump({"repository": str(second)}))
        wait_until(lambda: version_of(server) == "3", "the other repository")
        put(second, 4, identity())
        wait_until(lambda: version_of(server) == "4", "its new version")


@pytest.mark.parametrize("beside", ["the configuration", "the models", "a model"])
def test_a_log_that_lies_beside_what_is_watched_is_no_change(tmp_path: Path, beside: str) -> None:
    root = repository(tmp_path / "models", {"add": add_one()})
    file = tmp_path / "modelward.yaml"
    file.write_text(yaml.safe_dump({"repository": str(root)}))
    folder = {"the configuration": tmp_path, "the models": root, "a model": root / "add" / "1"}[beside]
    log = folder / "server.log"
    redirected = ("sh", "-c", f'exec "$@" 2>>{log}', "redirected")
    with serve_process("--config", file, launcher=redirected) as server:
        with log.open("a") as other:
            other.write("a line of another's\n")
        put(root, 2, identity())
        wait_until(lambda: version_of(server) == "2", "the new version")
        text = log.read_text()
        assert "change detected" not in text and "changes detected" not in text
        assert text.count("configuration reloaded") + server.metric("modelward_reloads_total", result="applied") <= 2
        size = log.stat().st_size
        assert not lasting(lambda: log.stat().st_size != size, 2.5)


def lasting(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it becomes true within that time."""
    try:
        return wait_until(condition, "what should not be", seconds)
    except AssertionError:
        return False


@pytest.mark.parametrize("how", ["written in place", "renamed over"])
def test_an_edited_configuration_is_followed(tmp_path: Path, how: str) -> None:
    root = repository(tmp_path / "models", {"add": add_one()})
    (root / "add" / "2").mkdir()
    (root / "add" / "2" / "model.onnx").write_bytes(identity())
    file = tmp_path / "modelward.yaml"
    file.write_text(yaml.safe_dump({"repository": str(root)}))
    with serve_process("--config", file) as server:
        text = yaml.safe_dump({"repository": str(root), "limits": {"peer": {"rate": "1/h", "burst": 1}}})
        if how == "written in place":
            file.write_text(text)
        else:
            (tmp_path / "edited").write_text(text)
            os.replace(tmp_path / "edited", file)
        wait_until(lambda: server.metric("modelward_reloads_total", result="applied") == 1, "the new limit")
