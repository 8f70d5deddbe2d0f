"""Honest tenants out of one process: what they send, in which order, and what is told of the answers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import hpack
import numpy as np
import pytest

from loadtests.detection import tables
from loadtests.detection.crowd import ANSWERED, BURST, REPLACED, Plan, Sender, Stream, outcome
from loadtests.detection.tables import Table
from loadtests.detection.tenants import BURSTY, KINDS
from modelward.rpc.protocol import message_class

TENANTS = 5  # one of each kind


@pytest.fixture(scope="module")
def table() -> Table:
    return tables.load("breast-cancer")


def sender(table: Table, **how: float) -> Sender:
    stream = Stream("served", table, [f"key-{i}" for i in range(TENANTS)], seed=0)
    return Sender(stream, Plan(1, [stream], **how))


def test_a_request_is_of_its_tenant_and_its_row_lies_in_the_tables_range(table: Table) -> None:
    tenant, sent = sender(table).next(7)
    size = int.from_bytes(sent[:3], "big")
    fields: dict[Any, Any] = dict(hpack.Decoder().decode(sent[9 : 9 + size]))
    assert fields["x-api-key"] == f"key-{tenant}"
    assert {sent[5:9], sent[9 + size + 5 : 9 + size + 9]} == {(7).to_bytes(4, "big")}
    request = message_class("inference.ModelInferRequest").FromString(sent[9 + size + 9 + 5 :])
    assert request.model_name == "served" and list(request.inputs[0].shape) == [1, table.features]
    row = np.frombuffer(request.raw_input_contents[0], np.float32)
    lowest, highest = table.raw(table.pool.min(axis=0)), table.raw(table.pool.max(axis=0))
    assert (row > lowest - (highest - lowest)).all() and (row < highest + (highest - lowest)).all()


def test_all_tenants_send_as_much_and_no_more(table: Table) -> None:
    all_of_them = sender(table, requests=70)
    counts: Counter[int] = Counter()
    while all_of_them.left:
        counts[all_of_them.next(1)[0]] += 1
    assert counts == dict.fromkeys(range(TENANTS), 70)


def test_at_a_rate_a_bursty_tenant_sends_as_much_as_others_and_at_once(table: Table) -> None:
    paced = sender(table, per_second=1.0)
    order = [paced.next(1)[0] for _ in range(20_000)]
    bursty = KINDS.index(BURSTY)
    assert 0.7 < order.count(bursty) / (len(order) / TENANTS) < 1.3
    first = order.index(bursty)
    assert order[first : first + BURST] == [bursty] * BURST


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([("grpc-status", "0")], ANSWERED),
        ([("grpc-status", "0"), ("modelward-fallback", "restricted")], REPLACED),
        ([("grpc-status", "8"), ("grpc-message", "later")], "status 8: later"),
    ],
)
def test_what_became_of_a_request_is_read_from_its_trailers(fields: list[tuple[str, str]], told: str) -> None:
    assert outcome(hpack.Encoder().encode(fields)) == told
