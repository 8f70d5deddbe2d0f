"""What the data plane samples is written by rounds; what cannot be is lost, and said once in a while."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

import pytest

from modelward.shadow.sample_writer import QUIET_ROUNDS, SampleWriter, Taken
from modelward.shadow.samples import MOST_FILES, kept, read

PAIR: Taken = ("m", "2", 0.5, b"request", b"primary", b"shadow")


class Plane:
    """Gives each of its rounds once."""

    def __init__(self, *rounds: list[Taken]) -> None:
        self.rounds = list(rounds)

    def take(self) -> list[Taken]:
        return self.rounds.pop(0) if self.rounds else []


def keep(keeping: SampleWriter, rounds: int = 1) -> None:
    async def run() -> None:
        for _ in range(rounds):
            await keeping.keep()

    asyncio.run(run())


def test_what_was_taken_is_on_disk_in_the_workers_own_folder(tmp_path: Path) -> None:
    other: Taken = ("m", "127.0.0.1:9", 1.0, b"", b"a", b"")
    keep(SampleWriter(Plane([PAIR, other], [PAIR]).take, tmp_path / "shadows", 3, 4), 2)
    found = kept(tmp_path / "shadows", "m")
    assert sorted(each.name for each in found) == ["3-1", "3-1", "3-2"]
    newest = read(kept(tmp_path / "shadows", "m", "2")[0].file)
    assert (newest.shadow_name, newest.disagreement) == ("2", 0.5)
    assert (newest.request, newest.primary, newest.shadow) == (b"request", b"primary", b"shadow")


def test_workers_share_the_bound_of_a_shadow(tmp_path: Path) -> None:
    for worker in range(4):
        keep(SampleWriter(Plane([PAIR] * 100).take, tmp_path, worker, 4))
    assert len(kept(tmp_path, "m", "2")) == 4 * (MOST_FILES // 4)
    keep(SampleWriter(Plane([PAIR] * 3).take, tmp_path / "many", 0, 1000))
    assert len(kept(tmp_path / "many", "m")) == 1


def test_who_takes_the_place_of_a_worker_goes_on_in_its_folder(tmp_path: Path) -> None:
    keep(SampleWriter(Plane([PAIR]).take, tmp_path, 0, 1))
    keep(SampleWriter(Plane([PAIR]).take, tmp_path, 0, 1))
    assert [each.name for each in kept(tmp_path, "m", "2")] == ["0-2", "0-1"]


def test_a_folder_that_cannot_be_written_is_logged_once_in_a_while_and_harms_no_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "shadows"
    root.write_bytes(b"a file")
    plane = Plane(*([PAIR] for _ in range(2 * QUIET_ROUNDS + 1)))
    keeping = SampleWriter(plane.take, root, 0, 1)
    with caplog.at_level(logging.ERROR, "modelward.shadow"):
        keep(keeping, 2 * QUIET_ROUNDS + 1)
    assert keeping.lost == 2 * QUIET_ROUNDS + 1
    assert [record.message.split(" could")[0] for record in caplog.records] == [
        f"{count} samples of disagreeing answers" for count in (1, QUIET_ROUNDS, QUIET_ROUNDS)
    ]
    assert "Not a directory" in caplog.text


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    keeping = SampleWriter(Plane([PAIR], [PAIR], [PAIR]).take, tmp_path / "shadows", 0, 1)
    keep(keeping)
    shutil.rmtree(tmp_path / "shadows")
    keep(keeping, 2)
    assert len(kept(tmp_path / "shadows", "m")) == 1


def test_a_pair_that_is_larger_than_all_may_be_is_lost_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    large: Taken = ("m", "2", 0.5, bytes(1 << 20), b"", b"")
    keep(SampleWriter(Plane([large, PAIR]).take, tmp_path, 0, 100))
    assert [each.heading.sizes for each in kept(tmp_path, "m")] == [(7, 7, 6)]
    assert "1 samples of disagreeing answers could not be kept" in caplog.text


def test_nothing_taken_makes_no_folder(tmp_path: Path) -> None:
    keep(SampleWriter(Plane().take, tmp_path / "shadows", 0, 1))
    assert not (tmp_path / "shadows").exists()
