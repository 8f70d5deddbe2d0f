"""What texts and bytes hold that a model has no use for: programs, pickles, scripts, archives; base64 of them."""

from __future__ import annotations

import base64
import binascii
import pickletools
import re
from collections.abc import Iterator
from itertools import islice

from modelward.scanning.finding import Findings, quoted
from modelward.scanning.outline import Model, Text, graphs_of, named, tensors_of
from modelward.scanning.source import Source, Span

WHOLE = 1 << 20  # bytes of one text that are searched
END = 64 << 10  # bytes of its beginning and end, where it is larger
HEAD = 4096  # bytes of a constant
FEWEST = 8  # bytes that may be anything
DEEPEST = 2  # base64 in base64
MOST_TRIES = 64  # pickles that may begin in one text
MOST_OPCODES = 10_000

EXECUTABLES = {
    "an ELF program": re.compile(rb"\x7fELF[\x01\x02][\x01\x02]\x01"),
    "a Mach-O program": re.compile(
        rb"\xfe\xed\xfa[\xce\xcf][\x00\x01]\x00\x00[\x07\x0c\x12]|[\xce\xcf]\xfa\xed\xfe[\x07\x0c\x12]\x00\x00[\x00\x01]"
    ),
    "a Java class": re.compile(rb"\xca\xfe\xba\xbe\x00[\x00-\x03]\x00[\x2d-\x50]"),
    "a Mach-O program for several machines": re.compile(rb"\xca\xfe\xba[\xbe\xbf]\x00\x00\x00[\x01-\x10]\x01?\x00"),
    "a WebAssembly program": re.compile(rb"\x00asm\x01\x00\x00\x00"),
    "an Android program": re.compile(rb"dex\n03[0-9]\x00"),
}
PE = re.compile(rb"MZ(?=[\x00-\xff]{58}([\x00-\xff]{4}))")
ARCHIVES = {
    "a zip archive": re.compile(rb"PK\x03\x04[\x00-\x3f]\x00[\x00-\xff]{2}[\x00\x08\x09\x0c\x0e\x5d\x5f]\x00"),
    "a 7z archive": re.compile(rb"7z\xbc\xaf\x27\x1c\x00"),
    "a rar archive": re.compile(rb"Rar!\x1a\x07[\x00\x01]"),
    "an xz archive": re.compile(rb"\xfd7zXZ\x00\x00"),
    "a gzip archive": re.compile(rb"\A\x1f\x8b\x08[\x00-\x1f]"),
}
SCRIPT = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,64}(?:\#!\s{0,8}/|<\?php|@echo\s|<script)", re.IGNORECASE)
# what a text must have for the pattern to be worth a search, and the pattern
DOWNLOADS = (
    (b"|", re.compile(rb"\b(?:curl|wget)\s[^\n|]{1,200}\|\s{0,8}(?:ba|z|da)?sh\b")),
    (b"/dev/tcp/", re.compile(rb"/dev/tcp/\w")),
    (b"ower", re.compile(rb"\b[Pp]ower[Ss]hell(?:\.exe)?\s+-")),
)
CODE = re.compile(
    rb"(?<![.\w])(?:eval|exec|compile|__import__)\s*\(\s*[\w'\"(]"
    rb"|\b(?:os\.(?:system|popen|exec\w*|spawn\w*)|subprocess\.\w+|pty\.spawn|pickle\.loads?|marshal\.loads?"
    rb"|importlib\.import_module|ctypes\.\w*CDLL|socket\.socket|shutil\.rmtree)\s*\("
)
ADDRESS = re.compile(rb"\b(?:https?|ftp|file|smb|ldaps?|wss?|javascript)://[^\s\"'<>\x00-\x20]{3,200}", re.IGNORECASE)
BINARY_PICKLE = re.compile(rb"\x80[\x02-\x05]")
TEXT_PICKLE = re.compile(
    rb"(?:c|\(i)(?:os|posix|nt|subprocess|builtins|__builtin__|sys|runpy|pty|shutil|socket|importlib|webbrowser"
    rb"|commands|pickle|torch|numpy|operator|functools|copyreg|copy_reg)[\w.]*\n\w[\w.]*\n"
)
NAMES = frozenset({"GLOBAL", "INST"})
STRINGS = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "BINGET", "LONG_BINGET", "STRING"})
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{20,}={0,2}")
HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}){16,}")

# of all these; numbers rarely begin so
BEGINNINGS = (
    *(
        b"\x7fELF",
        b"MZ",
        b"\xfe\xed\xfa",
        b"\xce\xfa\xed\xfe",
        b"\xcf\xfa\xed\xfe",
        b"\xca\xfe\xba",
        b"\x00asm",
        b"dex\n",
    ),
    *(
        b"PK\x03\x04",
        b"7z\xbc\xaf",
        b"Rar!",
        b"\xfd7zXZ",
        b"\x1f\x8b\x08",
        b"#!",
        b"\x80\x02",
        b"\x80\x03",
        b"\x80\x04",
        b"\x80\x05",
    ),
)

Payload = tuple[str, str]  # rule, and what it is in words


def payloads(data: bytes, depth: int = 0) -> Iterator[Payload]:
    """What is in it; of one kind once."""
    if len(data) < FEWEST:
        return
    for words, pattern in EXECUTABLES.items():
        if pattern.search(data):
            yield "embedded-executable", words
            break
    if _has_pe(data):
        yield "embedded-executable", "a Windows program"
    if has_pickle(data):
        yield "embedded-pickle", "a pickle that calls code"
    for words, pattern in ARCHIVES.items():
        if pattern.search(data):
            yield "embedded-archive", words
            break
    if SCRIPT.match(data) or any(sign in data and pattern.search(data) for sign, pattern in DOWNLOADS):
        yield "embedded-script", "a script"
    elif b"(" in data and (found := CODE.search(data)) is not None:
        yield "embedded-code", f"code, {quoted(found[0].decode(errors='replace'))}"
    if b"://" in data and (found := ADDRESS.search(data)) is not None:
        yield "embedded-address", f"the URL {quoted(found[0].decode(errors='replace'))}"
    if depth < DEEPEST:
        yield from _encoded(data, depth)


def _has_pe(data: bytes) -> bool:
    for found in islice(PE.finditer(data), MOST_TRIES):
        at = found.start() + int.from_bytes(found[1], "little")
        if data[at : at + 4] == b"PE\0\0":
            return True
    return False


def has_pickle(data: bytes) -> bool:
    """Whether a pickle that names or calls functions begins somewhere in it."""
    if TEXT_PICKLE.search(data):
        return True
    return any(_calls(data[found.start() :]) for found in islice(BINARY_PICKLE.finditer(data), MOST_TRIES))


def _calls(data: bytes) -> bool:
    """Whether these bytes begin with a pickle that does: also one whose end is missing, since it runs up to there."""
    texts = 0
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if opcode.name in NAMES and all(part.isidentifier() for part in re.split("[ .]", str(argument))):
                return True
            if opcode.name == "STACK_GLOBAL" and texts >= 2:
                return True
            if number > MOST_OPCODES:
                return False
            texts += opcode.name in STRINGS
    except Exception:  # noqa: BLE001 - whatever pickletools raises on bytes that are none
        return False
    return False


def _encoded(data: bytes, depth: int) -> Iterator[Payload]:
    told = set()
    for pattern, decode, words in ((BASE64, _from_base64, "base64"), (HEX, _from_hex, "hex")):
        for found in islice(pattern.finditer(data), 1000):
            for rule, what in payloads(decode(found[0]), depth + 1):
                if rule not in told and rule not in ("embedded-address", "embedded-code"):
                    told.add(rule)
                    yield rule, f"{what} in {words}"


def _from_base64(text: bytes) -> bytes:
    text = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])
    except binascii.Error:
        return b""


def _from_hex(text: bytes) -> bytes:
    return binascii.unhexlify(text[: len(text) // 2 * 2])


# ---- of a model


def check(model: Model, source: Source, findings: Findings, left: int) -> None:
    """left: bytes that are searched."""
    for place, text in _texts(model):
        size = text.span[1] - text.span[0]
        data, is_whole = _searched(text.span, source, left)
        left -= len(data)
        if not is_whole:
            findings.add("embedded-large", f"{text.of} has {size:,} bytes", place)
        for rule, what in payloads(data):
            findings.add(rule, f"{text.of} holds {what}", place)
    for body in model.bodies:
        for of, tensor in tensors_of(body):
            for start, stop in tensor.places.get("raw_data", ())[:1]:
                _check_head(source.read(start, min(stop, start + HEAD)), of, findings)
            for span in tensor.places.get("string_data", ()):
                data, _ = _searched(span, source, left)
                left -= len(data)
                for rule, what in payloads(data):
                    findings.add(rule, f"a text of a constant holds {what}", of)


def _check_head(data: bytes, of: str, findings: Findings) -> None:
    """Numbers may look like anything: only how they begin counts."""
    if data.startswith(BEGINNINGS):
        for rule, what in payloads(data):
            if rule != "embedded-address":
                findings.add(rule, f"the data of a constant begins with {what}", of)


def _searched(span: Span, source: Source, left: int) -> tuple[bytes, bool]:
    """The bytes that are searched, and whether these are all."""
    start, stop = span
    if stop - start <= min(WHOLE, left):
        return source.read(start, stop), True
    if left <= 0:
        return source.read(start, min(stop, start + HEAD)), False
    return source.read(start, start + END) + b"\n" + source.read(max(start + END, stop - END), stop), False


def _texts(model: Model) -> Iterator[tuple[str, Text]]:
    """With the place of each, in words."""
    yield from (("", text) for text in model.texts)
    for body in model.bodies:
        for graph in graphs_of(body):
            yield from (("", text) for text in graph.texts)
            yield from (("", text) for attribute in graph.defaults for text in attribute.texts)
            for value in (*graph.inputs, *graph.outputs, *graph.values):
                yield from ((f"value {quoted(value.name)}", text) for text in value.texts)
            for node in graph.nodes:
                place = named(node)
                yield from ((place, text) for text in node.texts)
                yield from ((place, text) for attribute in node.attributes for text in attribute.texts)
        for of, tensor in tensors_of(body):
            yield from ((of, text) for text in tensor.texts)
