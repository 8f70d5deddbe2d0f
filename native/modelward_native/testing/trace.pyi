"""The ids that are made for requests without: for tests."""

def made(exchange: int, entered: int, attempt: int) -> tuple[str, str]: ...
def parsed(value: bytes) -> bytes:
    """Trace id and parent id; empty where the value is no traceparent."""
