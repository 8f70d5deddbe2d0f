"""Bounds of buckets as Prometheus writes them, without its library in a server."""

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.utils import floatToGoString

from modelward.telemetry.le_labels import le_labels


@given(st.lists(st.floats(min_value=0, allow_infinity=False), max_size=4))
@example([0.0, 5e-05, 0.001, 2.5, 100.0, 999999.0, 1e6, 1048576.0, 12345678.5, 1e15, 1e16, 1.5e300])
def test_a_bound_is_written_as_prometheus_client_writes_it(bounds: list[float]) -> None:
    assert le_labels(tuple(bounds)) == (*map(floatToGoString, bounds), "+Inf")
