"""Samples on disk: whole or absent, bounded, the oldest go first."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from modelward.shadow.samples import Sample, SampleError, Samples, folder_of, kept, names, read, writers_folder

SAMPLE = Sample("fraud", "2", 1_700_000_000_000_000_000, 0.5, b"request\n", b"", b"shadow\0")


@given(
    st.text(max_size=20), st.text(max_size=20), st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=50)
)
def test_what_is_written_is_read(model: str, shadow: str, a: bytes, b: bytes, c: bytes) -> None:
    sample = Sample(model, shadow, 1, 0.25, a, b, c)
    assert Sample.decode(sample.encode()) == sample


@given(st.binary(max_size=100))
def test_what_is_no_sample_is_refused(data: bytes) -> None:
    with pytest.raises(SampleError):
        Sample.decode(data)


def test_every_part_of_a_sample_is_no_sample() -> None:
    whole = SAMPLE.encode()
    for end in range(len(whole)):
        with pytest.raises(SampleError):
            Sample.decode(whole[:end])
    for wrong in (b'{"version": 1, "sizes": [-1, 1, 0]}\n', b"[" * 5000, b"[1]\n", whole + b"x"):
        with pytest.raises(SampleError):
            Sample.decode(wrong)


def test_the_oldest_go_first_by_number_and_by_size(tmp_path: Path) -> None:
    samples = Samples(tmp_path / "a", most_files=3)
    for time in range(5):
        assert samples.add(replace(SAMPLE, time_ns=time))
    assert [read(file).time_ns for file in names(tmp_path / "a")] == [2, 3, 4]
    small = Samples(tmp_path / "b", most_bytes=2 * len(SAMPLE.encode()) + 10)
    for time in range(5):
        small.add(replace(SAMPLE, time_ns=SAMPLE.time_ns + time))
    assert [read(file).time_ns - SAMPLE.time_ns for file in names(tmp_path / "b")] == [3, 4]
    assert not small.add(replace(SAMPLE, request=bytes(1000)))
    assert len(names(tmp_path / "b")) == 2


def test_another_writer_goes_on_where_the_last_one_died(tmp_path: Path) -> None:
    first = Samples(tmp_path, most_files=3)
    first.add(SAMPLE)
    first.add(replace(SAMPLE, time_ns=2))
    (tmp_path / "00000000000000000009.sample.new").write_bytes(b"half")
    (tmp_path / "note.sample").write_bytes(b"somebody's")
    second = Samples(tmp_path, most_files=2)
    second.add(replace(SAMPLE, time_ns=3))
    assert [read(file).time_ns for file in names(tmp_path)] == [2, 3]
    assert not list(tmp_path.glob("*.new"))
    assert (tmp_path / "note.sample").exists()


def test_files_are_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "shadows" / "s"
    Samples(folder).add(SAMPLE)
    for each in (folder, folder.parent, folder.parent.parent):
        assert each.stat().st_mode & 0o777 == 0o700
    assert names(folder)[0].stat().st_mode & 0o777 == 0o600


def test_a_folder_is_no_path_that_a_name_could_choose(tmp_path: Path) -> None:
    folders = {folder_of(tmp_path, model, shadow) for model in ("a", "../x", "a\0b") for shadow in ("..", "/", "b")}
    assert len(folders) == 9
    assert all(folder.parent == tmp_path and folder.name.isalnum() for folder in folders)


def test_a_file_that_grew_beyond_the_bound_is_not_read(tmp_path: Path) -> None:
    Samples(tmp_path).add(SAMPLE)
    (file,) = names(tmp_path)
    with pytest.raises(OSError, match="more than 10 bytes"):
        read(file, most_bytes=10)


def test_samples_of_all_workers_are_found_the_newest_first(tmp_path: Path) -> None:
    for worker, times in ((0, (10, 40)), (11, (20, 30))):
        samples = Samples(writers_folder(tmp_path, "fraud", "2", worker))
        for time in times:
            samples.add(replace(SAMPLE, time_ns=time))
    Samples(writers_folder(tmp_path, "fraud", "3", 0)).add(replace(SAMPLE, shadow_name="3", time_ns=15))
    Samples(writers_folder(tmp_path, "other", "2", 0)).add(replace(SAMPLE, model="other"))
    assert [(each.name, each.heading.time_ns) for each in kept(tmp_path, "fraud", "2")] == [
        ("0-2", 40), ("11-2", 30), ("11-1", 20), ("0-1", 10),
    ]  # fmt: skip
    assert [each.heading.shadow_name for each in kept(tmp_path, "fraud")] == ["2", "2", "2", "3", "2"]
    assert kept(tmp_path, "nobody") == kept(tmp_path / "nowhere", "fraud") == []


def test_what_is_no_sample_is_not_found(tmp_path: Path) -> None:
    folder = writers_folder(tmp_path, "fraud", "2", 0)
    Samples(folder).add(SAMPLE)
    for number, data in enumerate((b"", b"{}\n", b"x" * 10_000), 5):
        (folder / f"{number:020d}.sample").write_bytes(data)
    (found,) = kept(tmp_path, "fraud", "2")
    assert read(found.file) == SAMPLE
    assert found.heading.sizes == tuple(map(len, (SAMPLE.request, SAMPLE.primary, SAMPLE.shadow)))
