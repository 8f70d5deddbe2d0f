"""Each model that is wrong on purpose is found by the rule that it breaks; good models are let be."""

from __future__ import annotations

import base64
import gzip
import inspect
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skl2onnx
from google.protobuf.internal.encoder import _VarintBytes
from onnx import helper
from onnx.onnx_ml_pb2 import ModelProto
from skl2onnx.common.data_types import StringTensorType
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

import modelward.demo
from modelward.problem import ProblemsFound
from modelward.repository.files import SEALED
from modelward.scanning.finding import MOST_OF_A_RULE, Findings, as_bad_as
from modelward.scanning.rules import RULES
from modelward.scanning.scanner import AT_LOAD, Bounds, scan, scan_at_load, scan_model
from modelward.scanning.source import InMemory
from tests import models
from tests.e2e.node_cases import collect
from tests.proxy.scanning.bad_models import (
    BAD,
    BESIDE,
    ELF,
    HIDDEN,
    PE,
    PICKLE,
    gathered,
    of,
    with_constant,
    with_metadata,
)

# what needs 2 GiB, another package or a file that is not readable, and is tested by itself
ELSEWHERE = {
    "protobuf-oversized",
    "scan-incomplete",
    "file-pickle-dangerous",
    "file-unreadable",
    "embedded-large",
    "operator-contrib",
    "opset-unused",
    "loop-open",
    "name-shadowed",
    "training-graph",
}


def made(folder: Path, name: str) -> Path:
    content = BAD[name][1](folder)
    if content is not None:
        (folder / "model.onnx").write_bytes(content)
    return folder / "model.onnx"


def test_there_are_enough_of_them_and_of_all_rules() -> None:
    assert len(BAD) >= 80
    assert {rule for rule, _ in BAD.values()} | ELSEWHERE == set(RULES)


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_found(tmp_path: Path, name: str) -> None:
    made(tmp_path, name)
    assert BAD[name][0] in {finding.rule for finding in scan(tmp_path).findings}


@pytest.mark.parametrize("name", BAD)
def test_at_the_load_it_is_found_too(tmp_path: Path, name: str) -> None:
    file = made(tmp_path, name)
    findings = scan_at_load(tmp_path, file, file.read_bytes())
    assert BAD[name][0] in {finding.rule for finding in findings}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_pickle_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.onnx").write_bytes(with_metadata(HIDDEN[name]))
    assert "embedded-pickle" in {finding.rule for finding in scan(tmp_path).findings}


@pytest.mark.parametrize(
    "program", [ELF, b"MZ" + b"a" * 58 + b"@\0\0\0" + PE, (b"MZ" + b"a" * 58 + b"@\0\0\0") * 64 + PE]
)
def test_a_program_is_found_behind_noise_and_in_broken_lines(tmp_path: Path, program: bytes) -> None:
    text = base64.b64encode(b"noise" * 20 + program)
    for hidden in (text, b"\n".join(text[at : at + 16] for at in range(0, len(text), 16))):
        (tmp_path / "model.onnx").write_bytes(with_metadata(hidden))
        assert "embedded-executable" in {finding.rule for finding in scan(tmp_path).findings}


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_bad_in_an_archive_or_by_its_content_is_found(tmp_path: Path, name: str) -> None:
    rule, file, content = BESIDE[name]
    (tmp_path / file).write_bytes(content)
    assert rule in {finding.rule for finding in scan(tmp_path).findings}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"\x80\x02" * 400_000, "may be a pickle"),
        (b" ".join([base64.b64encode(b"MZ" + bytes([n % 256]) * 20) for n in range(1100)]), "texts in base64"),
    ],
)
def test_a_bound_that_is_reached_is_a_finding(tmp_path: Path, text: bytes, what: str) -> None:
    (tmp_path / "model.onnx").write_bytes(with_metadata(text))
    found = [finding for finding in scan(tmp_path).findings if finding.rule == "scan-incomplete"]
    assert [finding.severity for finding in found] == ["high"]
    assert what in found[0].what


def test_an_archive_with_too_many_members_is_incomplete(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(1001):
            archive.writestr(f"m{number}", b"any")
    assert [finding.rule for finding in scan(tmp_path).findings] == ["scan-incomplete"]


WORDS = re.findall(rb"[A-Za-z_.()']+", b" ".join(file.read_bytes() for file in sorted(Path("docs").rglob("*.md"))))


def test_words_names_and_archives_of_them_are_let_be(tmp_path: Path) -> None:
    """A vocabulary is a list of words with a newline behind each, as opcodes of a pickle have it."""
    assert len(WORDS) > 20_000
    names = [b"encoder.layer.%d.attention.self.query.weight_quantized" % number for number in range(3000)]
    for text in (b"\n".join(WORDS), b" ".join(WORDS), b"\n".join(names), b",".join(names)):
        (tmp_path / "model.onnx").write_bytes(with_metadata(text[: 1 << 20]))
        (tmp_path / "vocab.txt").write_bytes(text)
        (tmp_path / "vocab.zip").write_bytes(gathered("vocab", text))
        (tmp_path / "vocab.gz").write_bytes(gzip.compress(text))
        assert as_bad_as(scan(tmp_path).findings, "medium") == []


GOOD = {
    name: maker
    for name, maker in inspect.getmembers(models, inspect.isfunction)
    if maker.__module__ == models.__name__
    and maker.__annotations__.get("return") in (bytes, "bytes")
    and not name.startswith("custom_domain")
}
EVERY = 20  # files of cases
TRAINING = "ai.onnx.preview.training"  # operators that no server runs: foreign, and told
SIZE = 10  # for those that want one


def good(folder: Path, name: str) -> bytes:
    needed = [each for each in inspect.signature(GOOD[name]).parameters.values() if each.default is each.empty]
    return GOOD[name](*(folder if "folder" in each.name else SIZE for each in needed))


def test_there_are_good_models() -> None:
    assert len(GOOD) >= 15


@pytest.mark.parametrize("name", GOOD)
def test_a_good_model_is_let_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.onnx").write_bytes(good(tmp_path, name))
    assert as_bad_as(scan(tmp_path).findings, "medium") == []


def test_the_models_of_the_demo_are_let_be() -> None:
    folder = Path(modelward.demo.__file__).parent
    files = [*folder.glob("*.onnx"), *folder.glob("*.npz")]
    assert len(files) >= 2
    assert [finding for file in files for finding in as_bad_as(scan(file).findings, "low")] == []


ESTIMATORS = [
    LogisticRegression(),
    RandomForestClassifier(n_estimators=5),
    GradientBoostingClassifier(n_estimators=5),
    KNeighborsClassifier(),
    SVC(probability=True),
    GaussianMixture(2),
    IsolationForest(n_estimators=5),
    MLPClassifier((4,), max_iter=5),
    make_pipeline(StandardScaler(), PCA(2), GaussianNB()),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
@pytest.mark.filterwarnings("ignore")
def test_a_model_from_scikit_learn_is_let_be(tmp_path: Path, estimator: Any) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    estimator.fit(rows, (rows[:, 0] > 0).astype(np.int64))
    converted = skl2onnx.to_onnx(estimator, rows[:1], target_opset={"": 17, "ai.onnx.ml": 3})
    (tmp_path / "model.onnx").write_bytes(converted.SerializeToString())
    np.savez(tmp_path / "canary.npz", **{"input:X": rows})
    assert as_bad_as(scan(tmp_path).findings, "medium") == []


def test_texts_and_categories_are_let_be(tmp_path: Path) -> None:
    texts = np.array([["a first text, with words"], ["https and base64 are words"]] * 5)
    fitted = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(texts, [0, 1] * 5)
    converted = skl2onnx.to_onnx(fitted, initial_types=[("X", StringTensorType([None, 1]))])
    (tmp_path / "model.onnx").write_bytes(converted.SerializeToString())
    assert as_bad_as(scan(tmp_path).findings, "medium") == []


def test_the_cases_that_onnx_has_for_its_operators_are_let_be(tmp_path: Path) -> None:
    cases = [case for case in collect(EVERY) if TRAINING not in {each.domain for each in case.model.opset_import}]
    assert len(cases) > 30
    for case in cases:
        findings = Findings(case.name)
        scan_model(InMemory(case.model.SerializeToString()), tmp_path, findings, AT_LOAD)
        assert as_bad_as(findings.all, "high") == [], case.name


# ---- rules that take more than one file


def test_an_operator_of_the_runtimes_own_domain_is_low(tmp_path: Path) -> None:
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    (tmp_path / "m.onnx").write_bytes(of(node, domains=[("com.microsoft", 1)]).SerializeToString())
    (finding,) = scan(tmp_path).findings
    assert (finding.rule, finding.severity) == ("operator-contrib", "low")


def test_what_is_beyond_the_budget_is_told(tmp_path: Path) -> None:
    many = [helper.make_node("Relu", ["x"], [f"y{number}"]) for number in range(100)]
    findings = Findings("m.onnx")
    scan_model(InMemory(of(*many).SerializeToString()), tmp_path, findings, Bounds(50, 0))
    assert [finding.rule for finding in findings.all] == ["scan-incomplete"]


def test_a_file_beyond_the_bound_of_protobuf_is_read_piece_by_piece(tmp_path: Path) -> None:
    """A sparse file: 3 GiB of zeros as the data of one constant."""
    size = 3 << 30
    head = ModelProto.FromString(with_constant(dims=[size // 4], raw_data=b""))
    head.graph.initializer[0].ClearField("raw_data")
    constant = head.graph.initializer[0].SerializeToString()
    head.graph.ClearField("initializer")
    graph = head.graph.SerializeToString()
    head.ClearField("graph")
    raw = b"\x4a" + varint_of(size)
    inner = b"\x2a" + varint_of(len(constant) + len(raw) + size) + constant + raw
    start = head.SerializeToString() + b"\x3a" + varint_of(len(graph) + len(inner) + size) + graph + inner
    with open(tmp_path / "model.onnx", "wb") as file:
        file.write(start)
        file.truncate(len(start) + size)
    assert [finding.rule for finding in scan(tmp_path / "model.onnx").findings] == ["protobuf-oversized"]


def varint_of(number: int) -> bytes:
    return _VarintBytes(number)


def test_many_findings_of_a_rule_are_counted(tmp_path: Path) -> None:
    many = [helper.make_node("Add", ["x", f"nothing{number}"], [f"y{number}"]) for number in range(30)]
    (tmp_path / "m.onnx").write_bytes(of(*many).SerializeToString())
    found = [finding for finding in scan(tmp_path).findings if finding.rule == "name-undefined"]
    assert (len(found), found[-1].more) == (MOST_OF_A_RULE, 30 - MOST_OF_A_RULE)


def test_the_size_of_sealed_data_says_nothing(tmp_path: Path) -> None:
    """Only the model is open, as it is at the load."""
    content = models.external_data(tmp_path)
    (tmp_path / "weights.bin").write_bytes(SEALED + b"-> X25519 anything")
    (tmp_path / "model.onnx").write_bytes(content)
    assert as_bad_as(scan_at_load(tmp_path, tmp_path / "model.onnx", content), "low") == []


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    """As Kubernetes mounts volumes."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "model.onnx").write_bytes(models.add_one())
    (tmp_path / "model.onnx").symlink_to("..data/model.onnx")
    found = scan(tmp_path)
    assert (found.files, found.findings) == (2, ())


def test_neighbours_of_a_single_file_belong_to_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(models.add_one())
    (tmp_path / "theirs.pkl").write_bytes(PICKLE)
    (tmp_path / "mine.canary.npz").write_bytes(b"no archive")
    findings = scan_at_load(tmp_path, tmp_path / "mine.onnx", models.add_one())
    assert [finding.rule for finding in findings] == ["array-damaged"]


@pytest.mark.parametrize("name", ["a_pickle_beside_it", "a_pickle_with_an_innocent_name", "a_checkpoint_of_torch"])
def test_the_functions_that_a_pickle_names_are_told(tmp_path: Path, name: str) -> None:
    made(tmp_path, name)
    found = {finding.rule: finding for finding in scan(tmp_path).findings}
    assert found["file-pickle"].severity == "high"
    assert found["file-pickle-dangerous"].severity == "critical"
    assert "posix.system" in found["file-pickle-dangerous"].what


def test_without_picklescan_the_pickle_is_found_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picklescan", None)
    made(tmp_path, "a_pickle_beside_it")
    assert [finding.rule for finding in scan(tmp_path).findings] == ["file-pickle"]


def test_what_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound) as found:
        scan(tmp_path / "nowhere.onnx")
    assert found.value.problems[0].what == "there is nothing to scan"
