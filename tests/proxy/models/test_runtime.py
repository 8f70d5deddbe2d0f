"""ONNX Runtime as this program finds it."""

import os
import subprocess
import sys

from modelward.models.runtime import mend
from modelward.problem import Problem


def test_onnx_runtime_keeps_no_record_of_what_it_does() -> None:
    # it opens a database of events for its makers, in the folder of the user who runs it, unless it is told not to
    script = (
        "import os; import modelward; from tests.models import add_one;"
        "import onnxruntime; session = onnxruntime.InferenceSession(add_one());"
        "print([os.readlink(entry.path) for entry in os.scandir('/proc/self/fd') if os.path.exists(entry.path)])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert "onnxruntime.db" not in done.stdout


def test_a_missing_locale_is_the_machines_fault_and_not_the_models() -> None:
    said = "Failed to construct locale with name:xx_XX:locale::facet::_S_create_c_locale:Please, install\n"
    assert "Install the locale" in mend(said)
    assert mend("no kernel for Foo(1)") == "Export it for this runtime"
    assert "\n" not in str(Problem("it cannot be loaded", "m", said, mend(said)))
