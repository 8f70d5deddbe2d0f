"""h2load's report is read rightly, whichever release wrote it."""

import pytest

from loadtests.tools import h2load
from loadtests.tools.h2load import Shape

REPORT = """\
finished in 36.92ms, 13543.14 req/s, 1.18MB/s
requests: 500 total, 500 started, 500 done, 500 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 500 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 43.66KB (44711) total, 1.52KB (1556) headers (space savings 96.76%), 36.62KB (37500) data
                     min         max         mean         sd        +/- sd
time for request:      118us     10.15ms      1.21ms      1.66ms    93.20%
time for connect:       55us      3.01ms      1.06ms       988us    62.50%
"""
WITH_PERCENTILES = REPORT.replace(
    "min         max         mean ", "min         max         median      p95         p99         mean "
).replace("118us     10.15ms      1.21ms ", "118us     10.15ms      1.02ms      4ms      9ms      1.21ms ")


@pytest.mark.parametrize("report", [REPORT, WITH_PERCENTILES], ids=["1.64", "1.66"])
def test_counts_rate_mean_and_bytes_are_found(report: str) -> None:
    load = h2load.parse(report)
    assert (load.succeeded, load.per_second, load.data_bytes) == (500, 13543.14, 37500)
    assert load.mean_latency_us == pytest.approx(1210)


def test_a_report_without_its_lines_is_told_and_not_guessed_at() -> None:
    with pytest.raises(h2load.LoadFailed, match="2xx"):
        h2load.parse("h2load: could not connect")


def test_a_shape_reads_as_it_is_written() -> None:
    assert str(Shape.parse("8x16")) == "8x16"
    with pytest.raises(ValueError, match="unpack"):
        Shape.parse("8")
