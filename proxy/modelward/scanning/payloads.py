"""What texts and bytes hold that a model has no use for: programs, pickles, scripts, archives; base64 of them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from modelward.scanning import pickles
from modelward.scanning.datatypes import DATATYPES
from modelward.scanning.finding import Findings, quoted
from modelward.scanning.outline import Model, Tensor, Text, graphs_of, named, tensors_of
from modelward.scanning.source import Source, Span
from modelward.scanning.wire import Damaged, varints

WHOLE = 1 << 20  # bytes of one text that are searched
END = 64 << 10  # bytes of its beginning and end, where it is larger
HEAD = 4096  # bytes of a constant
WIDTHS = {"int32_data": 4, "int64_data": 8, "uint64_data": 8}  # of a number whose datatype is not known
FEWEST = 8  # bytes that may be anything
DEEPEST = 3  # base64 in base64
MOST_DECODED = 1000  # texts in base64 or hex that may hold something

EXECUTABLES = {
    "an ELF program": re.compile(rb"\x7fELF[\x01\x02][\x01\x02]\x01"),
    "a Mach-O program": re.compile(
        rb"\xfe\xed\xfa[\xce\xcf][\x00\x01]\x00\x00[\x07\x0c\x12]|[\xce\xcf]\xfa\xed\xfe[\x07\x0c\x12]\x00\x00[\x00\x01]"
    ),
    "a Java class": re.compile(rb"\xca\xfe\xba\xbe\x00[\x00-\x03]\x00[\x2d-\x50]"),
    "a Mach-O program for several machines": re.compile(rb"\xca\xfe\xba[\xbe\xbf]\x00\x00\x00[\x01-\x10]\x01?\x00"),
    "a WebAssembly program": re.compile(rb"\x00asm\x01\x00\x00\x00"),
    "an Android program": re.compile(rb"dex\n03[0-9]\x00"),
    "compiled Python": re.compile(rb"[\x00-\xff][\x0b-\x0f]\r\n[\x00-\x03]\x00{3}[\x00-\xff]{8}[\x63\xe3]"),
}
PE = re.compile(rb"MZ(?=[\x00-\xff]{58}([\x00-\xff]{4}))")
ARCHIVES = {
    "a zip archive": re.compile(rb"PK\x03\x04[\x00-\x3f]\x00[\x00-\xff]{2}[\x00\x08\x09\x0c\x0e\x5d\x5f]\x00"),
    "a 7z archive": re.compile(rb"7z\xbc\xaf\x27\x1c\x00"),
    "a rar archive": re.compile(rb"Rar!\x1a\x07[\x00\x01]"),
    "an xz archive": re.compile(rb"\xfd7zXZ\x00\x00"),
    "a bzip2 archive": re.compile(rb"BZh[1-9]1AY&SY"),
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
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{20,}={0,2}")
HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}){16,}")

# what decoded bytes have that are worth to be searched; of noise one byte in 10,000 has it
SIGNS = re.compile(
    rb"\x7fELF|MZ|\xfe\xed\xfa|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba|\x00asm|dex\n|PK\x03\x04|7z\xbc\xaf|Rar!|\xfd7zXZ|BZh"
    rb"|[\x0b-\x0f]\r\n[\x00-\x03]\x00{3}|\A\x1f\x8b\x08|\x80[\x02-\x05]|[ci]\w[\w.]{0,80}\n\w|#!|<\?php|@echo|<script|curl|wget|/dev/tcp|ower[Ss]hell"
    rb"|[A-Za-z0-9+/_-]{20}",
    re.IGNORECASE,
)
PICKLES: dict[pickles.Verdict, tuple[str, str]] = {
    "yes": ("embedded-pickle", "a pickle that calls code"),
    "unknown": ("scan-incomplete", "too much that may be a pickle"),
}

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
        b"BZh",
        b"\x1f\x8b\x08",
        b"#!",
        b"\x80\x02",
        b"\x80\x03",
        b"\x80\x04",
        b"\x80\x05",
    ),
)

Payload = tuple[str, str]  # rule, and what it is in words


def payloads(data: bytes, budget: pickles.Budget, depth: int = 0) -> Iterator[Payload]:
    """What is in it; of one kind once. budget: for what may be pickles."""
    if len(data) < FEWEST:
        return
    for words, pattern in EXECUTABLES.items():
        if pattern.search(data):
            yield "embedded-executable", words
            break
    if _has_pe(data):
        yield "embedded-executable", "a Windows program"
    if (verdict := pickles.search(data, budget)) != "no":
        yield PICKLES[verdict]
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
        yield from _encoded(data, budget, depth)


def _has_pe(data: bytes) -> bool:
    for found in PE.finditer(data):
        at = found.start() + int.from_bytes(found[1], "little")
        if data[at : at + 4] == b"PE\0\0":
            return True
    return False


def _encoded(data: bytes, budget: pickles.Budget, depth: int) -> Iterator[Payload]:
    """In base64, also broken by blanks and with something glued to its beginning, and in hex."""
    told = set()
    for count, (decoded, words) in enumerate(filter(_is_worth_it, _decoded(data, depth))):
        if count == MOST_DECODED:
            yield "scan-incomplete", f"more than {MOST_DECODED:,} texts in base64"
            return
        if depth + 1 == DEEPEST and BASE64.search(decoded):
            yield "scan-incomplete", f"base64 in base64, {DEEPEST} deep"
        for rule, what in payloads(decoded, budget, depth + 1):
            if rule not in told and rule not in ("embedded-address", "embedded-code"):
                told.add(rule)
                yield rule, f"{what} in {words}"


def _decoded(data: bytes, depth: int) -> Iterator[tuple[bytes, str]]:
    for found in HEX.finditer(data):
        yield _from_hex(found[0]), "hex"
    joined = data.translate(None, b" \t\r\n")
    for text in (data,) if len(joined) == len(data) else (data, joined):
        for found in BASE64.finditer(text):
            for shift in range(4 if depth == 0 else 1):
                yield _from_base64(found[0][shift:]), "base64"


def _is_worth_it(decoded: tuple[bytes, str]) -> bool:
    """Most texts that could be base64 are words and names: one search tells."""
    return SIGNS.search(decoded[0]) is not None


def _from_base64(text: bytes) -> bytes:
    text = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    text = text[:-1] if len(text) % 4 == 1 else text
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def _from_hex(text: bytes) -> bytes:
    return binascii.unhexlify(text[: len(text) // 2 * 2])


# ---- of a model


def check(model: Model, source: Source, findings: Findings, left: int) -> None:
    """left: bytes that are searched."""
    whole = pickles.Budget(pickles.BUDGET * (1 + (left >> 20)))
    for place, text in _texts(model):
        size = text.span[1] - text.span[0]
        data, is_whole = _searched(text.span, source, left)
        left -= len(data)
        if not is_whole:
            findings.add("embedded-large", f"{text.of} has {size:,} bytes", place)
        for rule, what in payloads(data, pickles.Budget(whole=whole)):
            findings.add(rule, f"{text.of} holds {what}", place)
    for body in model.bodies:
        for of, tensor in tensors_of(body):
            for data in _heads(tensor, source):
                _check_head(data, of, findings, pickles.Budget(whole=whole))
            for span in tensor.places.get("string_data", ()):
                data, is_whole = _searched(span, source, left)
                left -= len(data)
                for rule, what in payloads(data, pickles.Budget(whole=whole)):
                    findings.add(rule, f"a text of a constant holds {what}", of)
                if not is_whole:
                    findings.add("embedded-large", f"a text of a constant has {span[1] - span[0]:,} bytes", of)


def _heads(tensor: Tensor, source: Source) -> Iterator[bytes]:
    """How the data of a constant begins, as a program has it in memory."""
    for name, places in tensor.places.items():
        start, stop = places[0] if places else (0, 0)
        if name in ("raw_data", "float_data", "double_data"):
            yield source.read(start, min(stop, start + HEAD))
        elif name in WIDTHS:
            try:
                numbers = varints(source.read(start, min(stop, start + 2 * HEAD)), HEAD)
            except Damaged:  # told as a wrong length
                continue
            kind = DATATYPES.get(tensor.datatype)
            width = max(1, kind.bits // 8) if kind is not None and kind.bits else WIDTHS[name]
            yield b"".join((number & ((1 << 8 * width) - 1)).to_bytes(width, "little") for number in numbers)


def _check_head(data: bytes, of: str, findings: Findings, budget: pickles.Budget) -> None:
    """Numbers may look like anything: only how they begin counts."""
    if data.startswith(BEGINNINGS):
        for rule, what in payloads(data, budget):
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
