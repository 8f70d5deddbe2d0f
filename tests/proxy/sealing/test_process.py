"""A process that opens sealed models: not dumped, not read, its keys gone from its environment."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from modelward.child import Bounds, in_child
from modelward.sealing.process import may_lock, swap_is_on
from modelward.undumpable import is_dumpable

SECRET = "AGE-SECRET-KEY-1NOTREALLYONE"


def run(code: str, **environment: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
    ).stdout


def test_it_cannot_be_dumped_any_more() -> None:
    code = (
        "import resource; from modelward.undumpable import is_dumpable; from modelward.sealing.process import seclude\n"
        "before = is_dumpable(); seclude(); print(before, is_dumpable(), resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )

    assert run(code).split() == ["True", "False", "0"]


def test_no_child_that_tries_a_model_can_be_dumped() -> None:
    assert is_dumpable()
    assert in_child(Bounds(60.0), is_dumpable) is False


def test_a_key_in_a_variable_is_gone_from_the_environment() -> None:
    code = (
        "import os; from pathlib import Path; from modelward.sealing.process import take_variable\n"
        "shown = lambda: Path('/proc/self/environ').read_text()\n"
        "assert os.environ['MODEL_KEY'] in shown()\n"
        "value = take_variable('MODEL_KEY')\n"
        "print(value, value in shown(), os.environ.get('MODEL_KEY'), take_variable('MODEL_KEY'))"
    )

    assert run(code, MODEL_KEY=SECRET).split() == [SECRET, "False", "None", "None"]


@pytest.mark.parametrize(("text", "on"), [("Filename\tType\n", False), ("Filename\tType\n/swap file 1 0 -2\n", True)])
def test_swap_is_looked_for(tmp_path: Path, text: str, on: bool) -> None:
    (tmp_path / "swaps").write_text(text)

    assert swap_is_on(tmp_path / "swaps") is on
    assert swap_is_on(tmp_path / "none")


def test_memory_is_locked_only_where_all_of_it_may_be(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        pytest.skip("this user may lock all memory")
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapEff:\t0000000000004000\n")
    assert may_lock(status)
    status.write_text("Name:\tx\nCapEff:\t0000000000000400\n")
    assert not may_lock(status)
    assert not may_lock(tmp_path / "none")
