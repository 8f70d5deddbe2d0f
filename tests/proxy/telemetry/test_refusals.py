"""What the log says of refused and failed requests, and the form of its lines."""

from __future__ import annotations

import json
import logging

import pytest

from modelward.telemetry.logs import JsonFormatter
from modelward.telemetry.refusals import RefusalLog


@pytest.mark.parametrize(
    ("model", "refusals", "words"),
    [
        ("", {"UNKNOWN_MODEL": 3}, "before a model was known: 3 requests refused in 10 s: 3 UNKNOWN_MODEL"),
        ("m", {"BACKEND_FAILED": 1}, "model m: 1 request failed in 10 s: 1 BACKEND_FAILED"),
        ("m", {"MODEL_LIMIT": 2}, "model m: 2 requests refused in 10 s: 2 MODEL_LIMIT"),
        ("m", {"BACKEND_FAILED": 2, "MODEL_LIMIT": 1}, "model m: 3 requests refused or failed in 10 s"),
    ],
)
def test_a_line_says_whether_requests_were_refused_or_failed(
    caplog: pytest.LogCaptureFixture, model: str, refusals: dict[str, int], words: str
) -> None:
    caplog.set_level(logging.INFO)
    RefusalLog().take({(model, ""): {"refusals": refusals}})
    assert words in caplog.text


@pytest.mark.parametrize("worker", [None, 3])
def test_every_json_line_has_a_worker(worker: int | None) -> None:
    record = logging.LogRecord("modelward.supervisor", logging.INFO, "", 0, "hello", (), None)
    line = json.loads(JsonFormatter(worker).format(record))
    assert line["worker"] == worker and "worker" in line
