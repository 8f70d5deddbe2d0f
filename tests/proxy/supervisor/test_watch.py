"""Changes of files are followed, whatever else lies in the repository."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from modelward.supervisor import watch as watching
from modelward.supervisor.watch import watch
from tests.kubelet import Volume

Steps = Callable[[asyncio.Queue[None]], Awaitable[None]]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.02, raising=False)


def followed(
    config: Path | None,
    repository: Path | None,
    steps: Steps,
    *,
    fails: int = 0,
    unread: int = 0,
    named: Callable[[], Iterable[Path]] = tuple,
) -> int:
    """Takes `steps` while files are watched; each reload is one item of the queue. The first `fails` of them raise, the
    first `unread` could not be read. Returns how many failures were counted."""

    async def run() -> int:
        calls: asyncio.Queue[None] = asyncio.Queue()
        count = 0
        failures: list[int] = []

        async def changed() -> bool:
            nonlocal count
            count += 1
            calls.put_nowait(None)
            if count <= fails:
                raise RuntimeError("the reload failed")
            return count > unread

        task = asyncio.create_task(watch(config, lambda: repository, changed, lambda: failures.append(1), named))
        await asyncio.sleep(0)
        try:
            await steps(calls)
        finally:
            task.cancel()
        return len(failures)

    return asyncio.run(run())


async def reloaded(calls: asyncio.Queue[None]) -> None:
    await asyncio.wait_for(calls.get(), 10)


def model(repository: Path, name: str, version: int = 1) -> Path:
    file = repository / name / str(version) / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"one")
    return file


@pytest.mark.parametrize("where", ["evil", "evil/1", "evil/1/model.onnx"])
def test_a_link_to_the_root_stops_no_watch(tmp_path: Path, where: str) -> None:
    config, repository = tmp_path / "config.yaml", tmp_path / "models"
    config.write_text("one")
    file = model(repository, "good")
    link = repository / where
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("/")

    async def steps(calls: asyncio.Queue[None]) -> None:
        for content in ("two", "three"):
            config.write_text(content)
            await reloaded(calls)
            file.write_text(content)
            await reloaded(calls)

    followed(config, repository, steps)


def test_nothing_outside_of_the_repository_is_looked_at(tmp_path: Path) -> None:
    repository, outside = tmp_path / "models", tmp_path / "outside"
    file = model(repository, "good")
    other = model(outside, "other")
    (file.parent / "link").symlink_to(other)
    (repository / "folder").symlink_to(outside)
    (file.parent / "clock").symlink_to("/proc/uptime")  # its times are those of each look
    before = watching._tree(repository)
    other.write_bytes(b"changed")
    assert watching._tree(repository) == before
    assert before is not None


def test_links_within_the_repository_are_followed(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    first, second = model(repository, ".first"), model(repository, ".second")
    (repository / "..data").symlink_to(".first")
    (repository / "m").symlink_to("..data")
    before = watching._tree(repository)
    first.write_bytes(b"changed")
    assert (changed := watching._tree(repository)) != before
    second.write_bytes(b"hidden")
    assert watching._tree(repository) == changed
    (repository / "..new").symlink_to(".second")
    os.replace(repository / "..new", repository / "..data")
    assert watching._tree(repository) != changed


def test_what_is_added_replaced_and_removed_is_seen_and_hidden_files_are_not(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    file = model(repository, "m")

    def state() -> object:
        return watching._tree(repository)

    before = state()
    (file.parent / ".model.onnx.swp").write_text("editor")
    (repository / "README").write_text("beside the models")
    assert state() == before
    model(repository, "m", 2)
    assert (added := state()) != before
    (file.parent / "new").write_bytes(b"one")
    os.replace(file.parent / "new", file)  # of the same size
    assert (replaced := state()) != added
    file.parent.rename(tmp_path / "gone")
    assert state() != replaced
    repository.rename(tmp_path / "elsewhere")
    assert state() is None


def test_a_reload_that_raises_does_not_end_the_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("one")

    async def steps(calls: asyncio.Queue[None]) -> None:
        for content in ("two", "three", "four"):
            config.write_text(content)
            await reloaded(calls)

    assert followed(config, None, steps, fails=2) == 2
    assert len(caplog.records) == 1, "one line a minute"


def test_a_change_that_could_not_be_read_is_tried_again_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "RETRIES", (0.01, 0.01, 0.01))
    config = tmp_path / "config.yaml"
    config.write_text("one")

    async def steps(calls: asyncio.Queue[None]) -> None:
        config.write_text("two")
        for _ in range(3):
            await reloaded(calls)
        config.write_text("three")  # only this asks once more
        await reloaded(calls)

    assert followed(config, None, steps, unread=2) == 0
    assert caplog.messages == [
        "a change of the configuration could not be read: it is tried again, up to 3 times in 0.03 s"
    ]


def test_a_change_that_can_never_be_read_is_given_up_and_another_one_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "RETRIES", (0.01, 0.01))
    config = tmp_path / "config.yaml"
    config.write_text("one")

    async def steps(calls: asyncio.Queue[None]) -> None:
        config.write_text("two")
        for _ in range(3):
            await reloaded(calls)
        config.write_text("three")
        await reloaded(calls)

    followed(config, None, steps, unread=3)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert "SIGHUP reloads" in caplog.messages[-1]


def test_an_endless_folder_is_looked_at_up_to_a_bound_and_hides_no_other_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_ENTRIES", 20)
    repository = tmp_path / "models"
    for name in ("a", "z"):
        folder = model(repository, name).parent
        for number in range(30):
            (folder / f"link{number}").symlink_to("..")
    file = model(repository, "good")
    before = watching._tree(repository)
    assert isinstance(before, dict)
    assert len(before) <= 43
    file.write_bytes(b"changed")
    assert watching._tree(repository) != before


def test_a_file_that_the_configuration_names_is_followed_when_its_link_is_turned(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "secret", {"release.pem": "one"})
    names = [volume / "release.pem"]

    async def steps(calls: asyncio.Queue[None]) -> None:
        volume.write({"release.pem": "two"})
        await reloaded(calls)
        other = tmp_path / "other.pem"
        other.write_text("three")
        names.append(other)
        await reloaded(calls)
        assert calls.empty()

    followed(None, None, steps, named=lambda: names)


def put_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def put_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


def put_nothing(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("put", [put_fifo, put_loop, put_nothing])
def test_a_file_that_cannot_be_read_for_a_while_is_told_once_and_followed_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, put: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(watching, "GONE_SECONDS", 0.05)
    config = tmp_path / "config.yaml"
    config.write_text("one")

    async def steps(calls: asyncio.Queue[None]) -> None:
        put(config)
        async with asyncio.timeout(10):
            while not caplog.records:
                await asyncio.sleep(0.01)
        (tmp_path / "new").write_text("two")
        (tmp_path / "new").replace(config)
        await reloaded(calls)

    assert followed(config, None, steps) == 1
    (record,) = caplog.records
    assert record.getMessage().startswith("the configuration cannot be read any more")
