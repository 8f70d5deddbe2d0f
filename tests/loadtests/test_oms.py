"""The judge of public cases of OpenSSF Model Signing: it says where a case is judged otherwise than its folder says."""

import shutil
from pathlib import Path

import pytest

from loadtests import oms
from tests import models
from tests.signing import keys, signed


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """As both public checkouts are laid out, with a signature of ours."""
    model = models.repository(tmp_path / "r", {"one": models.add_one()}) / "one/1/model.onnx"
    pair = keys(tmp_path)
    signature = signed(model, pair)
    vectors = tmp_path / "corpus/test-vectors/v1.0"
    for folder in ("valid", "invalid"):
        (vectors / folder).mkdir(parents=True)
    shutil.copy(signature, vectors / "valid/key.bundle.json")
    (vectors / "invalid/empty.bundle.json").touch()
    return tmp_path / "corpus"


def test_cases_that_are_judged_as_they_say_are_a_success(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert oms.main([corpus]) == 0
    assert "2 cases, 0 judged otherwise" in capsys.readouterr().out


def test_a_case_that_is_judged_otherwise_is_a_failure(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    valid = corpus / "test-vectors/v1.0/valid/key.bundle.json"
    shutil.copy(valid, corpus / "test-vectors/v1.0/invalid/good.bundle.json")
    valid.write_text("{}")
    assert oms.main([corpus]) == 1
    assert "3 cases, 2 judged otherwise" in capsys.readouterr().out


def test_a_folder_without_cases_is_a_failure(tmp_path: Path) -> None:
    assert oms.main([tmp_path]) == 1
