"""The examples of configuration in the documents are configurations that this version takes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config.load import load

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = re.compile(r'^```yaml title="modelward\.yaml"\n(.*?)^```', re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _found(pattern: re.Pattern[str]) -> list[Any]:
    return [
        pytest.param(text, id=f"{page.relative_to(DOCS)}-{number}")
        for page in sorted(DOCS.rglob("*.md"))
        for number, text in enumerate(pattern.findall(page.read_text()), 1)
    ]


@pytest.mark.parametrize("text", _found(EXAMPLE))
def test_an_example_of_a_configuration_is_valid(tmp_path: Path, text: str) -> None:
    written = yaml.safe_load(text)
    for name in written.get("models", {}) if "repository" in written else ():
        version = tmp_path / written["repository"] / name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").touch()
    file = tmp_path / "modelward.yaml"
    file.write_text(text)
    load(file, environ={})


@pytest.mark.parametrize("text", _found(SCRIPT))
def test_an_example_in_python_compiles(text: str) -> None:
    compile(text, "example", "exec")


def test_there_are_examples() -> None:
    assert len(_found(EXAMPLE)) > 3
