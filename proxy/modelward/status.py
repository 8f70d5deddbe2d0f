"""gRPC status: its codes, and the one exception that becomes one."""

import enum


class Code(enum.IntEnum):
    """gRPC status codes (grpc/grpc doc/statuscodes.md); the names are also the values of the metrics' `code` label."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """Ends a call with a status other than OK. `reason` is ErrorInfo's: UPPER_SNAKE_CASE, closed list, or empty."""

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = Code(code)
        self.message = message
        self.reason = reason


def clip(text: str, limit: int = 96) -> str:
    """`text` as an error message may repeat it: status messages travel in trailers, which clients bound at 8 KiB."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
