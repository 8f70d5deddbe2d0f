"""The scanner and the writer of the Open Inference Protocol for tests, benchmarks and tools."""

from collections.abc import Sequence
from typing import TypedDict

class Input(TypedDict):
    name: str
    datatype: str
    shape: list[int]
    shared_memory: bool
    has_contents: bool
    contents: dict[int, int]
    contents_bytes: int

class Output(TypedDict):
    name: str
    shared_memory: bool
    classification: bool

class Request(TypedDict):
    model_name: str
    model_version: str
    id: str
    inputs: list[Input]
    outputs: list[Output]
    raw: list[bytes]
    timeout_us: int
    timeout_invalid: bool
    priority: int
    priority_invalid: bool
    sequence: bool

class Envelope(TypedDict):
    model_name: str
    model_version: str
    id: str
    timeout_us: int

def scan(message: bytes) -> Request:
    """What the server sees in an encoded ModelInferRequest. `contents` counts elements by field of InferTensorContents;
    `contents_bytes` adds up the lengths of bytes_contents. ValueError: malformed, or more tensors or dimensions than
    the server takes."""

def scan_repeatedly(message: bytes, repeats: int) -> None:
    """Scans the same message again and again without making Python objects, for benchmarks. ValueError as `scan`."""

def envelope(message: bytes) -> Envelope:
    """What the server sees in a request that it passes on undecoded. ValueError: its outermost fields, or one of the
    three strings, are malformed."""

def model_name(message: bytes) -> str:
    """model_name alone, checking the outermost fields only. ValueError: those are malformed."""

def contents(message: bytes, index: int, datatype: str) -> bytes:
    """The typed contents of input `index` in raw form. ValueError: the datatype has no typed form, a value does not fit
    it, or the message is refused by `scan`. IndexError: no such input."""

def bytes_valid(raw: bytes, elements: int) -> bool:
    """Whether exactly `elements` length-prefixed strings fill a raw BYTES tensor."""

def elements(shape: Sequence[int]) -> int:
    """Product of the dimensions; -1 where one is negative or those that are not zero multiply past 2**59.
    ValueError: more than 16 dimensions."""

def stream_response(message: bytes) -> bytes | None:
    """The ModelInferResponse in a message of a stream; b"" where there is none, None where it cannot be told."""

def reply(
    model_name: str = "",
    model_version: str = "",
    id: str = "",
    *,
    outputs: Sequence[tuple[str, str, Sequence[int], bytes]] | None = None,
    fallback: str = "",
    fallback_source: str = "",
    restricted: str = "",
    anomaly_score: float | None = None,
    anomaly: bool | None = None,
    final_response: bool = False,
    gather: bool = False,
    stream: bool = False,
    repeats: int = 1,
) -> bytes:
    """An encoded ModelInferResponse; each output is name, datatype, shape and raw elements. `gather` leaves the raw
    elements out at first and copies them to their places afterwards, as the server does; `stream` wraps the message as
    infer_response of a ModelStreamInferResponse; `repeats` writes it again and again, for benchmarks. ValueError: an
    unknown datatype, more than 256 outputs or 16 dimensions."""
