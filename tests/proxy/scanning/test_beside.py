"""What lies in the folder of a version beside its model."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from modelward.repository.files import SEALED
from modelward.scanning.finding import as_bad_as
from modelward.scanning.scanner import MOST_MODELS, scan, scan_at_load
from tests import models
from tests.proxy.scanning.bad_models import BAD, CALL, CALL_2, ELF, PICKLE, gathered, objects

NAMED_AS_MODELS = {
    "a_program": ("file-executable", ELF),
    "a_pickle": ("file-pickle", PICKLE),
    "a_pickle_of_text": ("file-pickle", CALL),
    "an_archive_with_a_pickle": ("file-pickle", gathered("archive/data", CALL_2)),
    "a_packed_program": ("file-executable", gzip.compress(ELF)),
    "a_script": ("file-script", b"#!/bin/sh\n"),
    "no_model": ("not-a-model", b""),
    "a_foreign_operator": ("operator-foreign", BAD["an_operator_of_another_domain"][1](Path())),
}


def tarred(content: bytes, mode: Literal["w", "w:gz"] = "w", kind: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=kind) as archive:
        entry = tarfile.TarInfo("data")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


ARCHIVES = {
    "tar": ("file-archive", tarred(PICKLE)),
    "tar_of_gnu": ("file-archive", tarred(PICKLE, kind=tarfile.GNU_FORMAT)),
    "tar_gz": ("file-archive", tarred(PICKLE, "w:gz")),
    "bz2": ("file-archive", bz2.compress(PICKLE)),
    "xz": ("file-archive", lzma.compress(PICKLE)),
    "lzma": ("file-archive", lzma.compress(PICKLE, lzma.FORMAT_ALONE)),
    "zip_in_zip": ("file-archive", gathered("data", gathered("data", PICKLE))),
    "bz2_in_zip": ("file-archive", gathered("data", bz2.compress(PICKLE))),
    "gzip_of_zip": ("file-archive", gzip.compress(gathered("data", PICKLE))),
    "gzip_of_gzip": ("file-archive", gzip.compress(gzip.compress(PICKLE))),
    "zip_behind_something": ("file-pickle", b"0123456789" + gathered("data", CALL_2)),
    "zip_with_something_behind": ("file-pickle", b"0123456789" + gathered("data", CALL_2) + b"anything"),
    "objects_in_gzip": ("array-pickle", gzip.compress(objects())),
    "compiled_python": ("file-executable", b"\xa7\x0d\r\n" + bytes(12) + b"\xe3" + bytes(100)),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_found_by_its_content(tmp_path: Path, name: str) -> None:
    rule, content = ARCHIVES[name]
    (tmp_path / "weights.bin").write_bytes(content)
    at_load, by_command = found(tmp_path)
    assert rule in at_load
    assert rule in by_command
    assert as_bad_as(scan(tmp_path).findings, "high")


@pytest.mark.parametrize("file", ["a.npz", "a.npy"])
@pytest.mark.parametrize(("rule", "content"), [("file-executable", ELF), ("file-pickle", PICKLE)])
def test_what_is_only_named_as_arrays_is_looked_at(tmp_path: Path, file: str, rule: str, content: bytes) -> None:
    (tmp_path / file).write_bytes(content)
    assert all(rule in each for each in found(tmp_path))


def test_weights_that_look_a_little_like_archives_are_let_be(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1 << 20)
    looks = [b"PK\x05\x06", b"PK\x05\x06" + bytes(18), b"MSCF", b"BZh", bytes(600), b"ustar"]
    for number, look in enumerate(looks):
        (tmp_path / f"a{number}.bin").write_bytes(look + noise)
        (tmp_path / f"b{number}.bin").write_bytes(noise + look)
    (tmp_path / "empty.bin").write_bytes(b"")
    assert found(tmp_path) == (set(), set())


def found(folder: Path) -> tuple[set[str], set[str]]:
    """Rules, by the load and by the command."""
    model = folder / "model.onnx"
    model.write_bytes(models.add_one())
    at_load = scan_at_load(folder, model, models.add_one())
    return {each.rule for each in at_load}, {each.rule for each in scan(folder).findings}


@pytest.mark.parametrize("file", ["payload.onnx", "PAYLOAD.ONNX", "below/payload.onnx"])
@pytest.mark.parametrize("name", NAMED_AS_MODELS)
def test_what_is_only_named_as_a_model_is_looked_at(tmp_path: Path, name: str, file: str) -> None:
    rule, content = NAMED_AS_MODELS[name]
    assert content is not None
    (tmp_path / "below").mkdir()
    (tmp_path / file).write_bytes(content)
    at_load, by_command = found(tmp_path)
    assert rule in at_load
    assert rule in by_command


def test_other_models_and_sealed_ones_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(models.add_one())
    assert found(tmp_path) == (set(), set())
    (tmp_path / "sealed.onnx").write_bytes(SEALED + b"-> X25519 A\n\n--- A\n")
    assert found(tmp_path) == ({"file-sealed"}, {"file-sealed"})


def test_a_model_that_is_mounted_by_links_is_read_once(tmp_path: Path) -> None:
    """As Kubernetes does it."""
    (tmp_path / "..data").mkdir()
    content = BAD["an_operator_of_another_domain"][1](tmp_path)
    assert content is not None
    (tmp_path / "..data" / "model.onnx").write_bytes(content)
    (tmp_path / "model.onnx").symlink_to("..data/model.onnx")
    findings = scan_at_load(tmp_path, tmp_path / "model.onnx", content)
    assert [each.rule for each in findings].count("operator-foreign") == 1


def test_more_models_than_are_looked_at_are_a_finding(tmp_path: Path) -> None:
    for number in range(MOST_MODELS):
        (tmp_path / f"m{number}.onnx").write_bytes(models.add_one())
    assert found(tmp_path) == (set(), set())
    (tmp_path / "z.onnx").write_bytes(ELF)
    (tmp_path / "z.txt").write_bytes(ELF)
    at_load, by_command = found(tmp_path)
    assert at_load == {"scan-incomplete", "file-executable"}
    assert "file-executable" in by_command
    assert as_bad_as(scan(tmp_path).findings, "high")
