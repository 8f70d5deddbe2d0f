"""Nanoseconds to scan a ModelInferRequest and to write a ModelInferResponse; `python -m tests.bench.bench_oip`.

Each figure is the median of rounds of a loop in C, sizes and bytes both included for the reply; the call into the
module, about 1 us, is spread over the loop.
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter_ns
from typing import Any

from modelward_native.testing import scan
from tests.oracle import oip

ROUNDS = 9
REPEATS = 50_000


def request(**tensor: Any) -> bytes:
    """The design's 156-byte request where the tensor is raw: a model name, one FP32 input of thirty elements."""
    contents = [] if "contents" in tensor else [bytes(120)]
    message = oip.message_class("ModelInferRequest")(
        model_name="fraud_model",
        inputs=[{"name": "columns", "datatype": "FP32", "shape": [1, 30], **tensor}],
        raw_input_contents=contents,
    )
    return bytes(message.SerializeToString())


def nanoseconds(work: Callable[[int], object]) -> float:
    """Median time of one of the `REPEATS` that `work` is asked for."""
    work(REPEATS)  # warm-up
    times = []
    for _ in range(ROUNDS):
        start = perf_counter_ns()
        work(REPEATS)
        times.append((perf_counter_ns() - start) / REPEATS)
    return median(times)


def measure() -> dict[str, float]:
    """Figure by name, in nanoseconds."""
    raw = request()
    typed = request(contents={"fp32_contents": [0.5] * 30})
    output = [("probabilities", "FP32", [1, 2], bytes(8))]
    return {
        f"scan, {len(raw)} bytes, raw contents": nanoseconds(lambda n: scan.scan_repeatedly(raw, n)),
        f"scan, {len(typed)} bytes, typed contents": nanoseconds(lambda n: scan.scan_repeatedly(typed, n)),
        "reply, one output": nanoseconds(lambda n: scan.reply("fraud_model", "1", "", outputs=output, repeats=n)),
        "reply, one output, four parameters": nanoseconds(
            lambda n: scan.reply(
                "fraud_model",
                "1",
                "",
                outputs=output,
                fallback="deadline",
                fallback_source="value",
                anomaly_score=0.5,
                anomaly=True,
                repeats=n,
            )
        ),
    }


def main() -> None:
    for name, figure in measure().items():
        print(f"{name:<40} {figure:8.1f} ns")


if __name__ == "__main__":
    main()
