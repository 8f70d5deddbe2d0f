"""What lies in the folder of a version beside its model."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from modelward.repository.files import SEALED
from modelward.scanning.finding import as_bad_as
from modelward.scanning.scanner import MOST_MODELS, scan, scan_at_load
from tests import models
from tests.proxy.scanning.bad_models import BAD, CALL, CALL_2, ELF, PICKLE, gathered

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
