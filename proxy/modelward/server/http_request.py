"""The head of an HTTP/1.1 request, read from a stranger's bytes (RFC 9112). Bodies are not read: no page takes one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

MAX_LINE_BYTES = 2048
MAX_FIELD_BYTES = 4096
MAX_HEADERS = 64
# of the lines of a head together; more than that is not kept of a connection
MAX_HEAD_BYTES = 32 * 1024
# before a request: RFC 9112, section 2.2, asks for one, which old clients send behind a body
MAX_EMPTY_LINES = 2

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]{1,2048}) HTTP/1\.([01])")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_NO_VALUE = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.ASCII | re.IGNORECASE)


class Malformed(Exception):
    """This is no request, or one that is larger than those of probes and scrapers."""


class Request(Struct, frozen=True):
    """headers: names in lower case; values of one name joined by commas. path: as it was sent, without its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    is_kept: bool
    """The client wants to send more on this connection."""

    @property
    def has_body(self) -> bool:
        return self.headers.get("content-length", "0").strip("0") != "" or "transfer-encoding" in self.headers


class Received:
    """What has come of a client, and is not answered yet. However it comes in pieces, each byte is looked at once."""

    def __init__(self) -> None:
        self._rest = bytearray()  # behind the last whole line
        self._looked_at = 0  # of these, without an end of a line among them
        self._lines: list[bytes] = []  # of the head that is coming
        self._head = self._empty = 0  # its bytes so far, and the empty lines before it

    def __len__(self) -> int:
        """Bytes that are kept."""
        return len(self._rest) + self._head

    def __iadd__(self, data: bytes) -> Received:
        self._rest += data
        return self

    def clear(self) -> None:
        self._rest.clear()
        self._looked_at = 0
        self._begin()

    def take(self) -> Request | None:
        """The first request, taken off; None while its head is not whole. Raises Malformed."""
        while (line := self._line()) is not None:
            if line and not self._lines and _LINE.fullmatch(line) is None:
                raise Malformed
            if line:
                self._lines.append(line)
                self._head += len(line) + 2
                if len(self._lines) > MAX_HEADERS + 1 or self._head > MAX_HEAD_BYTES:
                    raise Malformed
            elif self._lines:
                lines = self._lines
                self._begin()
                return _read(lines)
            else:
                self._empty += 1
                if self._empty > MAX_EMPTY_LINES:
                    raise Malformed
        return None

    def _begin(self) -> None:
        self._lines, self._head, self._empty = [], 0, 0

    def _line(self) -> bytes | None:
        """Without its end, taken off; None while that has not come. Raises Malformed where it is too long."""
        longest = MAX_FIELD_BYTES if self._lines else MAX_LINE_BYTES
        end = self._rest.find(b"\r\n", self._looked_at, longest + 2)
        if end < 0:
            if len(self._rest) > longest + 1:
                raise Malformed
            self._looked_at = max(len(self._rest) - 1, 0)
            return None
        line = bytes(self._rest[:end])
        del self._rest[: end + 2]
        self._looked_at = 0
        return line


def _read(lines: list[bytes]) -> Request:
    line = _LINE.fullmatch(lines[0])
    if line is None:
        raise Malformed
    headers: dict[str, str] = {}
    for text in lines[1:]:
        name, value = _field(text)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    target = line[2].decode("ascii")
    path = _ABSOLUTE.sub("", target, count=1) if not target.startswith("/") else target
    wanted = {each.strip() for each in headers.get("connection", "").lower().split(",")}
    is_kept = "close" not in wanted and (line[3] == b"1" or "keep-alive" in wanted)
    return Request(line[1].decode("ascii"), path.partition("?")[0], headers, is_kept)


def _field(line: bytes) -> tuple[str, str]:
    """Name in lower case, and value. Cut and not matched whole: three stars of one expression tried all ways to share
    the blanks of a line between them, which took a minute for 4 KiB of blanks."""
    name, colon, value = line.partition(b":")
    if not colon or _NAME.fullmatch(name) is None or _NO_VALUE.search(value) is not None:
        raise Malformed
    return name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
