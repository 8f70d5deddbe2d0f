"""Ids that are made for requests without: W3C's form, one trace per request, a span per send."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_native.testing.trace import made, parsed

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


def test_a_fork_makes_other_traces_of_the_same_requests() -> None:
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, made(0x7F0000000000, 10**15, 2)[1].encode())
        os._exit(0)
    os.wait()
    with open(read) as told:
        os.close(write)
        assert told.read() != made(0x7F0000000000, 10**15, 2)[1]


TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("value", [f"00-{TRACE}-{PARENT}-01", f"01-{TRACE}-{PARENT}-00-what.comes.later"])
def test_a_traceparent_is_read(value: str) -> None:
    assert parsed(value.encode()).hex() == TRACE + PARENT


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00_{TRACE}_{PARENT}_01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
    ],
)
def test_what_is_no_traceparent_is_none(value: str) -> None:
    assert parsed(value.encode()) == b""


@given(st.binary(max_size=80))
def test_noise_is_read_as_the_form_says(value: bytes) -> None:
    form = re.fullmatch(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", value)
    assert bool(parsed(value)) == bool(form)
