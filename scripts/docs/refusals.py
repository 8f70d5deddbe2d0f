"""The page of refusals: the table of verdicts, with what each reason means to a client."""

import grpc

from modelward_native.request.verdict import table
from scripts.docs import markdown

# whether the same request may be sent again, as the table of verdicts says
AGAIN = ("no", "yes", "after the delay in the answer", "not at once")
# what has to change, where the request itself need not
CHANGE = {
    "UNAUTHENTICATED": "with another credential",
    "DEADLINE": "with a later deadline",
    "CANARY": "with another version",
    "NO_VERSION": "once a version may answer",
}
MEANING = {
    "PEER_LIMIT": "The address of the client is over `limits.peer`.",
    "IDENTITY_LIMIT": "The identity of the caller is over `limits.identity`.",
    "MODEL_LIMIT": "All callers together are over `models.NAME.limit`.",
    "TOTAL_LIMIT": "All callers together are over `limits.total`.",
    "MESSAGE_TOO_LARGE": "The message is larger than `limits.message_size`.",
    "INFLATED_TOO_LARGE": "The compressed message is larger than `limits.message_size` once it is inflated.",
    "INFLIGHT_BYTES": "`limits.inflight_bytes` is used up, or the share of the caller in it (`limits.inflight_share`).",
    "RESTRICTED": "Detection suspects the caller, or an operator restricts it (`models.NAME.detection`).",
    "RELAYED_STREAMS": "The caller has its share of the streams to the upstream.",
    "MALFORMED_FRAMING": "The bytes are not gRPC framing.",
    "MALFORMED_MESSAGE": "The bytes are not a message of the method.",
    "MALFORMED_TIMEOUT": "The header `grpc-timeout` cannot be read.",
    "UNSUPPORTED_ENCODING": "`grpc-encoding` is none of `identity`, `gzip` and `deflate`.",
    "HEADERS_TOO_LARGE": "The headers are too large or too many.",
    "UNKNOWN_METHOD": "The server has no such method.",
    "REQUEST_CARDINALITY": "The call has no request message, or more than the one that its method takes.",
    "UNKNOWN_MODEL": "No model has this name.",
    "UNKNOWN_VERSION": "The model has no such version.",
    "INVALID_INPUT": "An input has a wrong name, datatype, shape or size. The message says which.",
    "UNSUPPORTED_FEATURE": "The request asks for something that the model cannot do here.",
    "SLOW_REQUEST": "Headers and body did not arrive within `limits.timeouts.request`.",
    "UNAUTHENTICATED": "The credential is missing, unknown or expired.",
    "PERMISSION_DENIED": "No rule in `access.rules` allows this call.",
    "CREDENTIALS_LIMIT": "Too many credentials from this address were refused.",
    "ACCESS_BUSY": "Too many credentials wait to be checked.",
    "ACCESS_UNAVAILABLE": "Credentials cannot be checked: the key set of the token issuer is not available.",
    "ANOMALY": "The input is unlike the training data, and `anomaly.mode` is `fallback` or `reject`.",
    "DEADLINE": "The deadline passed: the client's own or `models.NAME.deadline`.",
    "QUEUE_FULL": "Too many requests wait for the model (`models.NAME.admission.queue`).",
    "SHED": "A request with higher priority, or of a caller with fewer requests, took the place in the queue.",
    "INFEASIBLE": "The deadline would pass while the request waits in the queue.",
    "BACKEND_FAILED": "The model or the upstream failed.",
    "RUN_MEMORY": "The run would need more than `models.NAME.run_memory`.",
    "NO_UPSTREAM": "No upstream of the model can be reached.",
    "UPSTREAM_LOST": "The connection to the upstream broke while it had the request. It may have run there.",
    "CRASH": "A worker died in a run with inputs of these shapes. See `modelward pardon`.",
    "CANARY": "The version fails its canary and is out of service.",
    "NO_VERSION": "The model is there, and none of its versions may answer: they wait for a promotion that needs an "
    "approval, or no signature of them counts.",
    "OUTPUT_GUARD": "The answer is not as `models.NAME.outputs` says, and is not given out.",
    "OUTPUT_BUDGET": "The model has given out as many such answers as `models.NAME.outputs.NAME.budget` allows.",
    "UPSTREAM_CREDENTIALS": "The upstream does not accept the credentials of this server.",
    "OUT_OF_MEMORY": "The server has no memory for the request or the answer.",
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
    for name, code, retry, fallback in table():
        if code:
            status = next(each.name for each in grpc.StatusCode if each.value[0] == code)
            anchored = f'<a id="{name}"></a>{markdown.code(name)}'
            rows.append(
                (
                    anchored,
                    markdown.code(status),
                    CHANGE.get(name, AGAIN[retry]),
                    "yes" if fallback else "no",
                    MEANING[name],
                )
            )
    columns = ("Reason", "gRPC status", "Send again?", "Fallback?", "Meaning")
    return markdown.page("Refusals", INTRODUCTION, markdown.table(columns, rows))
