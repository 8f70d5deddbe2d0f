"""Makes the demo's model and table: `python -m modelward.demo.make [FOLDER]`. Needs scikit-learn and skl2onnx.

The table is scikit-learn's copy of Breast Cancer Wisconsin (Diagnostic); README.md tells its licence.
"""

import sys
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelward.demo.table import MODEL_FILE, TABLE_FILE

OPSET = 17
HIDDEN = (64, 32)
HELD_OUT = 0.25


def make(folder: Path) -> float:
    """Writes both files; returns the share of held-out rows that the model gets right."""
    data = load_breast_cancer()
    rows = data.data.astype(np.float32)
    known, unseen, known_truth, unseen_truth = train_test_split(
        rows, data.target, test_size=HELD_OUT, random_state=0, stratify=data.target
    )
    model = make_pipeline(StandardScaler(), MLPClassifier(HIDDEN, alpha=1.0, max_iter=500, random_state=0))
    model.fit(known, known_truth)
    converted = to_onnx(
        model,
        name="breast_cancer",
        initial_types=[("input", FloatTensorType([None, rows.shape[1]]))],
        options={"zipmap": False},
        target_opset=OPSET,
    )
    (folder / MODEL_FILE).write_bytes(converted.SerializeToString())
    np.savez_compressed(
        folder / TABLE_FILE,
        rows=rows,
        truth=data.target.astype(np.uint8),
        features=np.array(data.feature_names, dtype=np.str_),
        classes=np.array(data.target_names, dtype=np.str_),
    )
    return float(model.score(unseen, unseen_truth))


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    print(f"right on held-out rows: {make(target):.1%}; written to {target}")
