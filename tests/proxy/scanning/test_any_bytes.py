"""Whatever a file holds, a scan ends soon and raises nothing."""

from __future__ import annotations

import base64
import io
import struct
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from modelward.scanning.arrays import check_array
from modelward.scanning.finding import Findings
from modelward.scanning.payloads import payloads
from modelward.scanning.pickles import Budget
from modelward.scanning.scanner import AT_LOAD, Bounds, scan, scan_at_load, scan_model
from modelward.scanning.source import InMemory, OnDisk
from tests import models
from tests.proxy.scanning.bad_models import BAD, good

SECONDS = 5.0  # of the processor, for one scan
BOUNDS = Bounds(100_000, 1 << 20)

SEEDS = [models.slow_loop(10, width=2), models.two_inputs(), models.strings()]


def scanned(data: bytes) -> None:
    began = time.process_time()
    findings = Findings("any")
    scan_model(InMemory(data), None, findings, BOUNDS)
    assert len(findings.all) < 1000
    assert time.process_time() - began < SECONDS


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    made = []
    for name in ("loops_within_loops", "functions_that_double", "a_size_that_is_computed", "a_pickle_in_base64"):
        made.append(BAD[name][1](folder))
    return [*SEEDS, *made]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_scanned(data: bytes) -> None:
    scanned(data)


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_model_with_changed_bytes_is_scanned(seeds: list[bytes], data: st.DataObject) -> None:
    model = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(model) - 1))
        kind = data.draw(st.sampled_from(("change", "cut", "insert", "copy")))
        if kind == "change":
            model[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del model[at : at + data.draw(st.integers(1, 64))]
        elif kind == "insert":
            model[at:at] = data.draw(st.binary(max_size=16))
        else:
            model[at:at] = model[: data.draw(st.integers(1, 400))]
        if not model:
            break
    scanned(bytes(model))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_text_is_searched(data: bytes) -> None:
    assert len(list(payloads(b"\x80\x04" + data, Budget()))) < 100


def test_a_file_that_shrinks_meanwhile_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(models.mlp())
    size = file.stat().st_size
    findings = Findings("any")
    with open(file, "r+b") as opened:
        opened.truncate(20)
        scan_model(OnDisk(opened.fileno(), size), None, findings, BOUNDS)
    assert "protobuf-damaged" in {finding.rule for finding in findings.all}


def test_long_names_count_as_what_they_take() -> None:
    made = good()
    made.graph.node.add(op_type="Relu", input=["x" * 1000] * 100, output=["y"])
    for fields, told in ((600, True), (2_000, False)):
        findings = Findings("any")
        scan_model(InMemory(made.SerializeToString()), None, findings, Bounds(fields, 1 << 20))
        assert ("scan-incomplete" in {finding.rule for finding in findings.all}) == told


def test_a_megabyte_of_anything_is_searched_in_bounded_time() -> None:
    began = time.process_time()
    for pattern in (b"\x80\x04", b"MZ", b"PK\3\4", b"QUJD", b"c", b"curl ", b"00"):
        list(payloads(pattern * (1_000_000 // len(pattern)), Budget()))
    assert time.process_time() - began < 4 * SECONDS


def test_many_graphs_below_many_constants_are_scanned_in_bounded_time() -> None:
    """Each of the inner graphs sees all constants of the outer one."""
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "branch", [], [])
    made = good()
    for number in range(20_000):
        made.graph.initializer.add(name=f"c{number}", data_type=TensorProto.INT64, dims=[1]).int64_data.append(1)
    node = helper.make_node("If", ["x"], ["b"], then_branch=branch, else_branch=branch)
    made.graph.node.extend([node] * 2_000)
    began = time.process_time()
    scan_model(InMemory(made.SerializeToString()), None, Findings("any"), AT_LOAD)
    assert time.process_time() - began < 2 * SECONDS


def deep(brackets: int = 5000) -> bytes:
    """An .npy whose header numpy cannot take for Python: tokenize.TokenError is no SyntaxError."""
    return b"\x93NUMPY\2\0" + struct.pack("<I", brackets) + b"(" * brackets


def test_an_array_with_a_header_of_brackets_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "deep.npy").write_bytes(deep())
    with zipfile.ZipFile(tmp_path / "deep.npz", "w") as archive:
        archive.writestr("a.npy", deep())
    assert [finding.rule for finding in scan(tmp_path).findings] == ["array-damaged"] * 2


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"\1\0", b"\2\0", b"\3\0"]))
def test_an_array_with_any_header_is_looked_at(text: bytes, version: bytes) -> None:
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(text))
    check_array(io.BytesIO(b"\x93NUMPY" + version + length + text), Findings("any"))


def test_what_the_scan_of_a_file_raises_is_a_finding_of_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("modelward.scanning.folder.arrays.check_array", fail)
    monkeypatch.setattr("modelward.scanning.scanner.tensors.check", fail)
    (tmp_path / "model.onnx").write_bytes(models.add_one())
    (tmp_path / "a.npy").write_bytes(deep())
    (tmp_path / "b.py").write_text("")
    told = {(Path(each.file).name, each.rule, each.what) for each in scan(tmp_path).findings}
    words = "the scan of the file failed (ZeroDivisionError)"
    assert told == {
        ("model.onnx", "scan-incomplete", words),
        ("a.npy", "scan-incomplete", words),
        ("b.py", "file-script", "it is a script"),
    }
    found = scan_at_load(tmp_path, tmp_path / "model.onnx", models.add_one())
    assert [each.rule for each in found].count("scan-incomplete") == 2


# each is a long pickle, for as many opcodes as it has
LONG = b"\x80\x04" + b"ca\nb\n(" * 20 + b"(" * 800


def test_many_texts_that_may_be_pickles_are_scanned_in_bounded_time(tmp_path: Path) -> None:
    """Each alone is far below the bound."""
    made = good()
    for number in range(3000):
        made.metadata_props.add(key=f"k{number}", value=base64.b64encode(LONG + b"%d" % number).decode())
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(1000):
            archive.writestr(f"m{number}", b"\x80\x04" + b"(" * 60_000)
    began = time.monotonic()
    findings = Findings("any")
    scan_model(InMemory(made.SerializeToString()), None, findings, AT_LOAD)
    assert {finding.rule for finding in findings.all} & {"embedded-pickle", "scan-incomplete"}
    assert "scan-incomplete" in {finding.rule for finding in scan(tmp_path).findings}
    assert time.monotonic() - began < 4 * SECONDS
