"""Ids that are made for requests without: W3C's form, one trace per request, a span per send."""

import re

from hypothesis import given
from hypothesis import strategies as st

from modelward_native.testing.trace import made

ADDRESS = st.integers(0, 2**47)
TIME = st.integers(0, 2**62)
FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00")


@given(ADDRESS, TIME, st.integers(0, 2**20))
def test_what_is_made_has_the_form_that_w3c_prescribes(exchange: int, entered: int, attempt: int) -> None:
    parent, request_id = made(exchange, entered, attempt)
    assert FORM.fullmatch(parent)
    assert request_id == parent.split("-")[1]


def test_a_second_send_of_a_request_is_another_span_of_the_same_trace() -> None:
    first, second = (made(0x7F0000001000, 10**15, attempt) for attempt in (2, 3))
    assert first[1] == second[1]
    assert first[0] != second[0]


def test_requests_that_come_together_have_traces_of_their_own() -> None:
    ids = {made(0x7F0000000000 + 1024 * i, 10**15, 2)[1] for i in range(10_000)}
    assert len(ids) == 10_000


def test_the_same_memory_used_again_is_another_trace() -> None:
    ids = {made(0x7F0000000000, 10**15 + i, 2)[1] for i in range(10_000)}
    assert len(ids) == 10_000
