"""All cases that ONNX has for its operators, served: `make bench-nodes`. Writes loadtests/results/nodes.md."""

import platform
import tempfile
from pathlib import Path

import onnx
import onnxruntime

from tests.e2e.node_cases import Results, run

RESULT = Path(__file__).parent / "results/nodes.md"


def report(found: Results) -> str:
    rows = [
        ("served, bit by bit ONNX Runtime's answer", len(found.equal)),
        ("served, random or of types that cannot be compared", len(found.uncompared)),
        ("request refused, as by ONNX Runtime", len(found.errors)),
        *((f"refused: {reason}", count) for reason, count in found.reasons.most_common()),
        ("other bytes", len(found.differ)),
        ("failed", len(found.failed)),
    ]
    lines = [f"| {what.replace('|', '/')} | {count} |" for what, count in rows]
    wrong = [f"- {name}: other bytes" for name in found.differ]
    wrong += [f"- {name}: {why}" for name, why in found.failed.items()]
    versions = f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, Python {platform.python_version()}"
    head = (
        f"# Cases of ONNX's operators\n\n`make bench-nodes`, {versions}, {platform.machine()}: {found.cases} cases.\n"
    )
    return "\n".join([head, "| what became of them | cases |", "|---|---|", *lines, "", *wrong]).rstrip() + "\n"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        found = run(1, Path(folder) / "models")
    RESULT.write_text(report(found))
    print(report(found))
    return 1 if found.differ or found.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
