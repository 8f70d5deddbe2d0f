"""An archive of arrays that a stranger has written takes no more than what is allowed."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from modelward.npz import DAMAGE, LONGEST_DIRECTORY, read_arrays


def packed(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def test_arrays_come_back_by_name() -> None:
    arrays = read_arrays(packed(a=np.arange(3), b=np.array(["x"])), 10_000)
    assert arrays["a"].tolist() == [0, 1, 2] and arrays["b"].tolist() == ["x"]


def test_what_would_unpack_to_more_is_refused_before_unpacking() -> None:
    bomb = packed(a=np.zeros(10_000_000, np.uint8))
    assert len(bomb) < 20_000
    with pytest.raises(ValueError, match="unpack"):
        read_arrays(bomb, 1_000_000)


def test_several_members_are_bounded_together() -> None:
    with pytest.raises(ValueError, match="unpack"):
        read_arrays(packed(**{f"a{i}": np.zeros(300_000, np.uint8) for i in range(4)}), 1_000_000)


def test_empty_strings_without_end_are_refused() -> None:
    """They take no bytes in the file, and one object each once they are read."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("a.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<U0", "fortran_order": False, "shape": (2**40,)})
    with pytest.raises(DAMAGE, match="elements"):
        read_arrays(out.getvalue(), 1_000_000)


def test_a_list_of_members_that_is_too_long_is_not_read() -> None:
    data = bytearray(packed(a=np.zeros(1)))
    struct.pack_into("<I", data, data.rfind(b"PK\5\6") + 12, LONGEST_DIRECTORY + 1)
    with pytest.raises(ValueError, match="too many members"):
        read_arrays(bytes(data), 1_000_000)


def test_an_archive_that_hides_the_length_of_its_list_is_refused() -> None:
    data = packed(a=np.zeros(1))
    end = data.rfind(b"PK\5\6")
    with pytest.raises(ValueError, match="4 GiB"):
        read_arrays(data[:end] + b"PK\6\7" + bytes(16) + data[end:], 1_000_000)


def test_no_archive_at_all_is_damage(tmp_path: Path) -> None:
    for data in (b"", b"nothing", bytes(1000), b"PK\5\6"):
        with pytest.raises(DAMAGE):
            read_arrays(data, 1_000_000)


def with_header(text: bytes, version: bytes = b"\2\0") -> bytes:
    """An .npz with one array whose header is `text`."""
    array = b"\x93NUMPY" + version + struct.pack("<I", len(text)) + text
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.npy", array)
    return out.getvalue()


@pytest.mark.parametrize(
    "text", [b"(" * 5000, b"{" * 200, b"[" * 9000 + b"\n", b"'", b"\0", b"{'descr': [], 'shape': 0}\n"]
)
def test_headers_that_are_no_literals_are_damage(text: bytes) -> None:
    with pytest.raises(DAMAGE):
        read_arrays(with_header(text), 10_000)
