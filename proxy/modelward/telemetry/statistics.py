"""What a version has done since it was loaded, as Triton's ModelStatistics tells it."""

from msgspec import Struct, field


class BatchStatistics(Struct, frozen=True):
    """Executions of one batch size (rows), as Triton's InferBatchStatistics; durations in nanoseconds."""

    batch_size: int
    count: int
    compute_input_ns: int
    compute_infer_ns: int
    compute_output_ns: int


class Statistics(Struct, frozen=True):
    """One version's totals since it was loaded, with Triton's meaning; durations in nanoseconds.

    `queue`, `compute_*` count requests, not executions: a request is charged the time of the batch it was in.
    """

    success_count: int = 0
    success_ns: int = 0
    fail_count: int = 0
    fail_ns: int = 0
    queue_count: int = 0
    queue_ns: int = 0
    compute_input_count: int = 0
    compute_input_ns: int = 0
    compute_infer_count: int = 0
    compute_infer_ns: int = 0
    compute_output_count: int = 0
    compute_output_ns: int = 0
    inference_count: int = 0  # rows
    execution_count: int = 0  # batches
    last_inference_ms: int = 0  # Unix time
    batch_stats: list[BatchStatistics] = field(default_factory=list)
