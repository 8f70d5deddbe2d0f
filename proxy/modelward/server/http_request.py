"""The head of an HTTP/1.1 request, read from a stranger's bytes (RFC 9112). Bodies are not read: no page takes one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_LINE_BYTES = 2048
MAX_FIELD_BYTES = 4096
MAX_HEADERS = 64
# what a head takes at most with these: more than that is not kept of a connection
MAX_HEAD_BYTES = 32 * 1024

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]{1,2048}) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.ASCII | re.IGNORECASE)


class Malformed(Exception):
    """This is no request, or one that is larger than those of probes and scrapers."""


@dataclass(frozen=True, slots=True)
class Request:
    """headers: names in lower case; values of one name joined by commas. path: as it was sent, without its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    is_kept: bool
    """The client wants to send more on this connection."""

    @property
    def has_body(self) -> bool:
        return self.headers.get("content-length", "0").strip("0") != "" or "transfer-encoding" in self.headers


def take_request(data: bytearray) -> Request | None:
    """The first request of what was received, taken off it; None while its head is not whole. Raises Malformed."""
    while data.startswith(b"\r\n"):  # section 2.2: after the body of the request before
        del data[:2]
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES + 4)
    lines = bytes(data[: end if end >= 0 else MAX_HEAD_BYTES]).split(b"\r\n")
    if len(lines[0]) > MAX_LINE_BYTES or len(lines) > MAX_HEADERS + 1 or any(len(f) > MAX_FIELD_BYTES for f in lines):
        raise Malformed
    if end < 0:
        if len(data) >= MAX_HEAD_BYTES or (len(lines) > 1 and _LINE.fullmatch(lines[0]) is None):
            raise Malformed
        return None
    request = _read(lines)
    del data[: end + 4]
    return request


def _read(lines: list[bytes]) -> Request:
    line = _LINE.fullmatch(lines[0])
    if line is None:
        raise Malformed
    headers: dict[str, str] = {}
    for text in lines[1:]:
        field = _FIELD.fullmatch(text)
        if field is None:
            raise Malformed
        name, value = field[1].decode("ascii").lower(), field[2].decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    target = line[2].decode("ascii")
    path = _ABSOLUTE.sub("", target, count=1) if not target.startswith("/") else target
    wanted = {each.strip() for each in headers.get("connection", "").lower().split(",")}
    is_kept = "close" not in wanted and (line[3] == b"1" or "keep-alive" in wanted)
    return Request(line[1].decode("ascii"), path.partition("?")[0], headers, is_kept)
