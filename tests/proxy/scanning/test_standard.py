"""Operators that are known without asking onnx."""

import subprocess
import sys

import onnx.defs

from modelward.scanning.standard import KNOWN

OF_ONE = """
import onnx.defs
from modelward.scanning.operators import _rule
onnx.defs.has = None
print(_rule("", "MatMul"), _rule("ai.onnx", "Relu"))
"""


def test_onnx_knows_each_of_them() -> None:
    assert [name for name in sorted(KNOWN) if not onnx.defs.has(name, "")] == []
    assert {"MatMul", "Conv", "Loop"} <= KNOWN


def test_they_are_all_of_the_first_seventeen_operator_sets() -> None:
    every = {
        each.name for each in onnx.defs.get_all_schemas_with_history() if not each.domain and each.since_version <= 17
    }
    assert {name for name in every if onnx.defs.has(name, "")} == KNOWN


def test_onnx_is_not_asked_about_them() -> None:
    told = subprocess.run([sys.executable, "-c", OF_ONE], check=True, capture_output=True, text=True).stdout
    assert told.split() == ["None", "None"]
