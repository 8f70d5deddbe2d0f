"""Files are read once, and only where no other user can redirect or change them."""

import os
import socket
from pathlib import Path

import pytest

from modelward.problem import ProblemsFound
from modelward.repository.files import read_inside


def refusal(root: Path, path: Path, largest: int = 100) -> str:
    with pytest.raises(ProblemsFound) as found:
        read_inside(root, path, largest)
    return str(found.value)


def test_a_plain_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert read_inside(tmp_path, tmp_path / "a", 7) == b"content"


def test_a_link_inside_the_root_is_followed_as_kubernetes_mounts_need_it(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026/a").write_bytes(b"content")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "a").symlink_to("..data/a")
    assert read_inside(tmp_path, tmp_path / "a", 7) == b"content"


def test_a_link_out_of_the_root_is_refused_for_files_and_folders(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    (root / "file").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    for path in (root / "file", root / "folder/secret", root / "../secret"):
        assert "leaves the model's folder" in refusal(root, path)


def test_a_second_hard_link_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    file = tmp_path / "it's"
    file.write_bytes(b"x")
    os.link(file, tmp_path / "other")
    told = refusal(tmp_path, file)
    assert "2 hard links" in told
    assert os.system(told.partition("a file of its own: ")[2].partition(".new && ")[0] + ".new") == 0
    os.replace(f"{file}.new", file)
    assert read_inside(tmp_path, file, 1) == b"x"


def test_a_pipe_a_socket_a_device_and_a_folder_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refusal(tmp_path, tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert "cannot be read" in refusal(tmp_path, tmp_path / "socket")
    assert "no regular file" in refusal(Path("/dev"), Path("/dev/zero"))
    (tmp_path / "folder").mkdir()
    assert "Is a directory" in refusal(tmp_path, tmp_path / "folder")


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    assert "1099511627776 bytes, more than 100" in refusal(tmp_path, tmp_path / "sparse")


def test_a_missing_file_and_a_circle_of_links_are_told(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path, tmp_path / "none")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "cannot be read" in refusal(tmp_path, tmp_path / "a")
