"""ONNX Runtime's shared library, as its wheel ships it; the Python package itself is never imported."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from modelward.problem import Problem, ProblemsFound
from modelward_native.backend.runtime import load_runtime

HOW = "Install the onnxruntime wheel (1.20 or later) into this environment"


def mend(error: str) -> str:
    """What to do about a model that the runtime cannot load. error: its words."""
    if "locale" in error:
        return "Install the locale that it names on this machine, or export the model without it"
    return "Export it for this runtime"


@cache
def runtime() -> str:
    """Loads libonnxruntime once per process; its release. Raises ProblemsFound where there is none that fits."""
    spec = find_spec("onnxruntime")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        for library in sorted(Path(folder, "capi").glob("libonnxruntime.so*")):
            try:
                return load_runtime(str(library))
            except ImportError as error:
                raise ProblemsFound(
                    [Problem("ONNX Runtime cannot be loaded", str(library), str(error), HOW)]
                ) from error
    raise ProblemsFound([Problem("ONNX Runtime is not installed", "Python environment", how=HOW)])
