"""What a configuration or a repository names is read only where it is a regular file of a sensible size."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelward.access import keys
from modelward.access.key_sets import load_file
from modelward.bounded_file import by_name, open_regular, read_regular
from modelward.certificate import read
from modelward.config.access import Jwt
from modelward.config.rate_limit import Shared
from modelward.config.sources import from_file
from modelward.problem import ProblemsFound
from modelward.promotion import store
from modelward.score import Profile, ProfileError

READERS: dict[str, Callable[[Path], object]] = {
    "configuration": from_file,
    "certificate": lambda file: read(file, "tls.certificate"),
    "keys": keys.load,
    "key set": lambda file: load_file(Jwt(jwks=str(file), issuer="https://issuer", audience=("us",))),
    "profile": Profile.load,
    "state": lambda file: store.Store(file.parent).load(),
    "password": lambda file: Shared(url="redis://localhost", password_file=file).password,
}
ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda file: file.symlink_to("/dev/zero"),
    "a folder": os.mkdir,
    "a sparse file of a terabyte": lambda file: (file.touch(), os.truncate(file, 2**40)),
    "a circle of links": lambda file: file.symlink_to(file.name),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_at_once_what_is_no_regular_file(tmp_path: Path, reader: str, odd: str) -> None:
    file = tmp_path / (store.FILE if reader == "state" else "file.yaml")
    ODD[odd](file)
    with pytest.raises((OSError, ProblemsFound, ProfileError)):
        READERS[reader](file)


def test_a_regular_file_is_read_through_links_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 7) == b"content"
    with pytest.raises(OSError, match="more than 6 bytes"):
        read_regular(tmp_path / "link", 6)
    with open_regular(tmp_path / "file", 7) as opened:
        assert opened.read(3) == b"con"


def test_a_file_of_the_kernel_that_hides_its_size_is_bounded_too() -> None:
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_regular(Path("/proc/self/status"), 10)


def test_a_descriptor_has_the_name_of_its_file_where_that_is_one_for_other_processes_too(tmp_path: Path) -> None:
    file, link = tmp_path / "modelward.yaml", tmp_path / "link"
    file.touch()
    link.symlink_to(file)
    assert [by_name(file), by_name(link)] == [file, link], "links are followed when they are read"
    with file.open() as opened:
        descriptor = Path(f"/dev/fd/{opened.fileno()}")
        assert by_name(descriptor) == by_name(Path(f"/proc/self/fd/{opened.fileno()}")) == file
        file.unlink()
        with pytest.raises(OSError, match="no name"):
            by_name(descriptor)
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w"), pytest.raises(OSError, match="no regular file"):
        by_name(Path(f"/dev/fd/{reading}"))
