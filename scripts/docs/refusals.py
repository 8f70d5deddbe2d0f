"""The page of refusals: the table of verdicts, with what each reason means to a client."""

import grpc

from modelward_native.request.verdict import table
from scripts.docs import markdown

AFTER = "after the delay in the answer"
NOT_AT_ONCE = "not at once"
NO = "no"
# what each reason means, and whether the same request may be sent again
MEANING = {
    "PEER_LIMIT": ("The address of the client is over `limits.peer`.", AFTER),
    "IDENTITY_LIMIT": ("The identity of the caller is over `limits.identity`.", AFTER),
    "MODEL_LIMIT": ("All callers together are over `models.NAME.limit`.", AFTER),
    "TOTAL_LIMIT": ("All callers together are over `limits.total`.", AFTER),
    "MESSAGE_TOO_LARGE": ("The message is larger than `limits.message_size`.", NO),
    "INFLATED_TOO_LARGE": ("The compressed message is larger than `limits.message_size` once it is inflated.", NO),
    "INFLIGHT_BYTES": (
        "`limits.inflight_bytes` is used up, or the caller holds its share of it (`limits.inflight_share`).",
        AFTER,
    ),
    "RELAYED_STREAMS": ("The caller has its share of the streams to the upstream.", AFTER),
    "MALFORMED_FRAMING": ("The bytes are not gRPC framing.", NO),
    "MALFORMED_MESSAGE": ("The bytes are not a message of the method.", NO),
    "MALFORMED_TIMEOUT": ("The header `grpc-timeout` cannot be read.", NO),
    "UNSUPPORTED_ENCODING": ("`grpc-encoding` is none of `identity`, `gzip` and `deflate`.", NO),
    "HEADERS_TOO_LARGE": ("The headers are too large or too many.", NO),
    "UNKNOWN_METHOD": ("The server has no such method.", NO),
    "UNKNOWN_MODEL": ("No model has this name.", NO),
    "UNKNOWN_VERSION": ("The model has no such version.", NO),
    "INVALID_INPUT": ("An input has a wrong name, datatype, shape or size. The message says which.", NO),
    "UNSUPPORTED_FEATURE": ("The request asks for something that the model cannot do here.", NO),
    "SLOW_REQUEST": ("Headers and body did not arrive within `limits.timeouts.request`.", "yes"),
    "UNAUTHENTICATED": ("The credential is missing, unknown or expired.", "with another credential"),
    "PERMISSION_DENIED": ("No rule in `access.rules` allows this call.", NO),
    "CREDENTIALS_LIMIT": ("Too many credentials from this address were refused.", AFTER),
    "ACCESS_BUSY": ("Too many credentials wait to be checked.", AFTER),
    "ACCESS_UNAVAILABLE": ("Credentials cannot be checked: the key set of the token issuer is not available.", AFTER),
    "ANOMALY": ("The input is unlike the training data, and `anomaly.mode` is `fallback` or `reject`.", NO),
    "DEADLINE": ("The deadline passed: the client's own or `models.NAME.deadline`.", "with a later deadline"),
    "QUEUE_FULL": ("Too many requests wait for the model (`models.NAME.admission.queue`).", NOT_AT_ONCE),
    "SHED": (
        "A request with higher priority, or of a caller with fewer requests, took the place in the queue.",
        NOT_AT_ONCE,
    ),
    "INFEASIBLE": ("The deadline would pass while the request waits in the queue.", NOT_AT_ONCE),
    "BACKEND_FAILED": ("The model or the upstream failed.", "yes"),
    "RUN_MEMORY": ("The run would need more than `models.NAME.run_memory`.", NO),
    "NO_UPSTREAM": ("No upstream of the model can be reached.", "yes"),
    "CRASH": ("A worker died in a run with inputs of these shapes. See `modelward pardon`.", NO),
    "CANARY": ("The version fails its canary and is out of service.", "with another version"),
    "UPSTREAM_CREDENTIALS": ("The upstream does not accept the credentials of this server.", NO),
    "OUT_OF_MEMORY": ("The server has no memory for the request or the answer.", AFTER),
    "DRAINING": ("Reserved: this release does not send it.", NO),
}
INTRODUCTION = """
A refused call ends with a gRPC status, a message that says what is wrong, and `grpc-status-details-bin` with a
`google.rpc.Status`. Its `ErrorInfo` has the domain `modelward` and one of the reasons below. The same reasons are
values of the label `reason` of `modelward_refusals_total`.

**Send again?** says whether the same request may succeed later. "After the delay in the answer": `RetryInfo` and the
trailer `grpc-retry-pushback-ms` say how long to wait. "Not at once": `grpc-retry-pushback-ms` is `-1`, and gRPC's own
retries stop. Wait, or ask another server.

**Fallback?** says whether the [fallback chain](configuration.md#models.NAME.fallback) of the model may answer instead.
Where it does, the call succeeds and the client sees `modelward_fallback`. A fallback never hides an error of the
client, and never lets a client around a limit.
"""


def page() -> str:
    rows = []
    for name, code, fallback in table():
        if code:
            meaning, again = MEANING[name]
            status = next(each.name for each in grpc.StatusCode if each.value[0] == code)
            anchored = f'<a id="{name}"></a>{markdown.code(name)}'
            rows.append((anchored, markdown.code(status), again, "yes" if fallback else "no", meaning))
    columns = ("Reason", "gRPC status", "Send again?", "Fallback?", "Meaning")
    return markdown.page("Refusals", INTRODUCTION, markdown.table(columns, rows))
