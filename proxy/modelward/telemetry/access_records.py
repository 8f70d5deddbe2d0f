"""A request of the access log, as a line of JSON and as a log record of OpenTelemetry. No tensor and no credential."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Self

from msgspec import Struct

from modelward.status import Code
from modelward_native.request.verdict import reasons

SERVICE = "inference.GRPCInferenceService"
INFO, WARN = 9, 13  # SeverityNumber of OpenTelemetry's logs


@cache
def _reason_names() -> Sequence[str]:
    return [*reasons()]


class AccessRecord(Struct, frozen=True):
    """at: ns since 1970, when it ended. fields: what there is to tell, by name; trace_id and parent_id are the
    client's."""

    at: int
    fields: Mapping[str, Any]

    @classmethod
    def of(cls, taken: Sequence[Any], clock: int) -> Self:
        """taken: as modelward_native.request.server.Server.take_access gives it. clock: ns since 1970 at 0 of the
        monotonic clock."""
        (at, took, request_bytes, reply_bytes, score, status, reason, fallback, flagged, streaming, trace, proof,
         model, version, identity, request_id, step) = taken  # fmt: skip
        fields = {
            "method": "ModelStreamInfer" if streaming else "ModelInfer",
            "model": model,
            "version": version,
            "identity": identity,
            "proof": proof,
            "status": Code(status).name,
            "reason": _reason_names()[reason] if reason else "",
            "fallback": _reason_names()[fallback] if fallback else "",
            "duration_ms": round(took / 1e6, 3),
            "request_bytes": request_bytes,
            "reply_bytes": reply_bytes,
            "anomaly_score": score,
            "anomalous": flagged or None,
            "step": step,
            "id": request_id,
            "trace_id": trace[:16].hex(),
            "parent_id": trace[16:].hex(),
        }
        return cls(clock + at, {name: value for name, value in fields.items() if value not in ("", None)})

    @property
    def time(self) -> str:
        whole, ns = divmod(self.at, 1_000_000_000)
        return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{ns // 1000:06d}Z"


def lines(records: Iterable[AccessRecord]) -> bytes:
    """A JSON document each, in ASCII: nothing in it can be taken for the end of a line."""
    return b"".join(
        json.dumps({"time": record.time, **record.fields}, separators=(",", ":")).encode() + b"\n" for record in records
    )


def otlp(records: Iterable[AccessRecord], version: str, worker: int) -> bytes:
    """The body of a request to /v1/logs (opentelemetry-proto, logs/v1, as JSON)."""
    resource = _attributes({"service.name": "modelward", "service.version": version, "modelward.worker": worker})
    scope = {"scope": {"name": "modelward.access"}, "logRecords": [_log_record(record) for record in records]}
    return json.dumps({"resourceLogs": [{"resource": {"attributes": resource}, "scopeLogs": [scope]}]}).encode()


def _log_record(record: AccessRecord) -> dict[str, Any]:
    fields = dict(record.fields)
    trace, parent = fields.pop("trace_id", ""), fields.pop("parent_id", "")
    method, status = fields.pop("method"), fields.pop("status")
    words = " ".join(filter(None, (method, fields.get("model"), status)))
    attributes = {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": method,
        "rpc.grpc.status_code": int(Code[status]),
        **({"enduser.id": fields.pop("identity")} if "identity" in fields else {}),
        **{f"modelward.{name}": value for name, value in fields.items()},
    }
    return {
        "timeUnixNano": str(record.at),
        "severityNumber": INFO if status == Code.OK.name else WARN,
        "body": {"stringValue": words},
        "attributes": _attributes(attributes),
        **({"traceId": trace, "spanId": parent} if trace else {}),
    }


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
