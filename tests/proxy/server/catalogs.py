"""A catalog with one model of every kind that the cold methods tell apart."""

from __future__ import annotations

from modelward.models.catalog import Catalog, CatalogEntry
from modelward.telemetry.statistics import BatchStatistics, Statistics
from modelward.tensors import TensorSpec

FRAUD_STATISTICS = Statistics(
    success_count=9,
    success_ns=9000,
    fail_count=1,
    fail_ns=50,
    queue_count=9,
    queue_ns=900,
    compute_input_count=9,
    compute_input_ns=90,
    compute_infer_count=9,
    compute_infer_ns=7000,
    compute_output_count=9,
    compute_output_ns=80,
    inference_count=12,
    execution_count=5,
    last_inference_ms=1_700_000_000_000,
    batch_stats=[BatchStatistics(4, 3, 30, 3000, 20)],
)


def tensor(name: str, datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape, symbols=tuple(None for _ in shape))


def version(name: str, number: str, *, batchable: bool = True, ready: bool = True, reason: str = "") -> CatalogEntry:
    """A model of 30 FP32 features to labels and probabilities; one that is not batchable takes a string to a scalar."""
    if batchable:
        inputs: tuple[TensorSpec, ...] = (tensor("features", "FP32", -1, 30),)
        outputs: tuple[TensorSpec, ...] = (tensor("label", "INT64", -1), tensor("probabilities", "FP32", -1, 2))
    else:
        inputs = (tensor("text", "BYTES", 1),)
        outputs = (tensor("length", "INT64"),)
    return CatalogEntry(
        name=name,
        version=number,
        inputs=inputs,
        outputs=outputs,
        statistics=lambda: FRAUD_STATISTICS if number == "2" else Statistics(),
        batchable=batchable,
        max_batch=256 if batchable else 1,
        ready=ready,
        reason=reason,
    )


def catalog() -> Catalog:
    return Catalog(
        [
            version("fraud", "10"),
            version("fraud", "2"),
            version("text-length", "1", batchable=False),
            version("warming", "1", ready=False),
            version("broken", "1", ready=False, reason="its output 'map' is not a tensor"),
        ]
    )
