"""Where records of the access log go, and what becomes of those that cannot be written."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modelward.config.access_log import AccessLogSettings
from modelward.config.load import load
from modelward.problem import ProblemsFound
from modelward.server.access_log import AccessLogWriter, Collector, File
from modelward.telemetry.access_records import AccessRecord

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
# as Server.take_access gives it
TAKEN = (5, 1_500_000, 120, 80, 0.25, 0, 0, 0, False, False, bytes.fromhex(TRACE + PARENT), "key", "fraud", "3",
         "team\n-a", "r-1", "")  # fmt: skip


def record() -> AccessRecord:
    return AccessRecord.of(TAKEN, 1_700_000_000_000_000_000)


def test_a_line_is_one_json_document_whatever_a_name_holds(tmp_path: Path) -> None:
    File(tmp_path / "log").write([record(), record()])

    written = (tmp_path / "log").read_text().splitlines()
    assert len(written) == 2
    assert json.loads(written[0]) == {
        "time": "2023-11-14T22:13:20.000000Z",
        "method": "ModelInfer",
        "model": "fraud",
        "version": "3",
        "identity": "team\n-a",
        "proof": "key",
        "status": "OK",
        "duration_ms": 1.5,
        "request_bytes": 120,
        "reply_bytes": 80,
        "anomaly_score": 0.25,
        "id": "r-1",
        "trace_id": TRACE,
        "parent_id": PARENT,
    }


def test_a_file_that_was_moved_away_is_made_again(tmp_path: Path) -> None:
    sink = File(tmp_path / "log")
    sink.write([record()])
    (tmp_path / "log").rename(tmp_path / "log.1")
    sink.write([record(), record()])

    assert len((tmp_path / "log.1").read_text().splitlines()) == 1
    assert len((tmp_path / "log").read_text().splitlines()) == 2


class _Handler(BaseHTTPRequestHandler):
    bodies: ClassVar[list[Any]] = []
    answer = 200

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.bodies.append((self.path, self.headers["Content-Type"], json.loads(self.rfile.read(size))))
        self.send_response(self.answer)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        return


@pytest.fixture
def collector() -> Iterator[str]:
    _Handler.bodies, _Handler.answer = [], 200
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/logs"
        server.shutdown()
        thread.join()


def test_a_collector_gets_log_records_of_opentelemetry(collector: str) -> None:
    Collector(collector, 3).write([record()])

    ((path, kind, body),) = _Handler.bodies
    assert (path, kind) == ("/v1/logs", "application/json")
    (resource,) = body["resourceLogs"]
    assert {"key": "service.name", "value": {"stringValue": "modelward"}} in resource["resource"]["attributes"]
    (told,) = resource["scopeLogs"][0]["logRecords"]
    assert (told["traceId"], told["spanId"]) == (TRACE, PARENT)
    assert told["timeUnixNano"] == "1700000000000000005"
    attributes = {each["key"]: each["value"] for each in told["attributes"]}
    assert attributes["rpc.grpc.status_code"] == {"intValue": "0"}
    assert attributes["modelward.model"] == {"stringValue": "fraud"}
    assert attributes["enduser.id"] == {"stringValue": "team\n-a"}


class _Ring:
    """What the data plane has kept. full: how many it had no room for."""

    def __init__(self, *taken: Sequence[Any]) -> None:
        self.taken = [*taken]
        self.full = 0

    def take(self, most: int) -> list[Sequence[Any]]:
        found, self.taken = self.taken[:most], self.taken[most:]
        return found

    def writer(self, sink: Any) -> AccessLogWriter:
        return AccessLogWriter(self.take, lambda: self.full, sink, "somewhere")


def test_what_cannot_be_written_is_counted_and_told_once(
    tmp_path: Path, collector: str, caplog: pytest.LogCaptureFixture
) -> None:
    _Handler.answer = 503
    for sink in (Collector(collector, 1), File(tmp_path / "none" / "log")):
        caplog.clear()
        ring = _Ring(TAKEN, TAKEN)
        writer = ring.writer(sink)
        asyncio.run(writer.keep())
        ring.taken, ring.full = [TAKEN], 7
        asyncio.run(writer.keep())

        stats = writer.stats()
        assert (stats.written, stats.full, stats.failed) == (0, 7, 3)
        assert [each.getMessage().partition(":")[0] for each in caplog.records] == [
            "2 requests are not in the access log (somewhere)"
        ]


def test_a_round_is_bounded_and_the_rest_waits(tmp_path: Path) -> None:
    ring = _Ring(*[TAKEN] * 1000)
    writer = ring.writer(File(tmp_path / "log"))
    asyncio.run(writer.keep())

    assert writer.stats().written == len((tmp_path / "log").read_text().splitlines()) < 1000
    assert ring.taken


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("{otlp: 'http://collector.example:4318/v1/logs'}", "http is only for this machine"),
        ("{otlp: 'https://user:secret@collector.example/v1/logs'}", "the URL holds a password"),
        ("{otlp: 'https://collector.example/v1/logs', file: a.jsonl}", "has file and otlp"),
        ("{sample: 0}", "greater than 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_problems(setting: str, words: str) -> None:
    with pytest.raises(ProblemsFound) as raised:
        load(sets=[f"access_log={setting}"], environ={})
    assert words in str(raised.value)


def test_without_a_place_it_goes_to_stdout() -> None:
    assert AccessLogSettings().where == "stdout"
