"""What a signature says of a version's files: an OMS statement (OpenSSF Model Signing 1.0, section 5), parsed.

Nothing here is trusted before the signature over these bytes is verified (modelward.integrity.signature).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
from msgspec import Meta, Struct, field

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
OLD_PREDICATE = "https://model_signing/Digests/v0.1"  # of releases before 0.3, which may be verified (section 11)
# excluded by every signer (section 6.2)
ALWAYS_IGNORED = (".git", ".gitignore", ".gitattributes", ".github")
MOST_FILES = 10_000
CHUNK = 1 << 20

Algorithm = Literal["sha256", "blake2b", "blake3"]
Name = Annotated[str, Meta(min_length=1, max_length=4096)]
Hex = Annotated[str, Meta(pattern=r"\A([0-9a-f]{2}){32,64}\Z")]  # no end of line behind it


class _Subject(Struct, frozen=True, kw_only=True):
    name: Name
    digest: Mapping[str, Hex]


class _Resource(Struct, frozen=True, kw_only=True):
    name: Name
    digest: Hex
    algorithm: Algorithm


class _Serialization(Struct, frozen=True, kw_only=True):
    method: Literal["files", "shards"]
    hash_type: Algorithm
    allow_symlinks: bool
    shard_size: Annotated[int, Meta(gt=0)] | None = None
    ignore_paths: Annotated[tuple[Name, ...], Meta(max_length=MOST_FILES)] = ()


class _Predicate(Struct, frozen=True, kw_only=True):
    resources: Annotated[tuple[_Resource, ...], Meta(min_length=1, max_length=MOST_FILES)]
    serialization: _Serialization


class _Statement(Struct, frozen=True, kw_only=True):
    type: Literal["https://in-toto.io/Statement/v1"] = field(name="_type")
    predicate_type: Literal["https://model_signing/signature/v1.0"] = field(name="predicateType")
    subject: Annotated[tuple[_Subject, ...], Meta(min_length=1, max_length=1)]
    predicate: _Predicate


class _OldStatement(Struct, frozen=True, kw_only=True):
    type: Literal["https://in-toto.io/Statement/v1"] = field(name="_type")
    subject: Annotated[tuple[_Subject, ...], Meta(min_length=1, max_length=MOST_FILES)]


class _Kind(Struct, frozen=True, kw_only=True):
    predicate_type: Any = field(name="predicateType", default="")


class Part(Struct, frozen=True):
    """Bytes `start` to `end` of a file, to its end where that is None; and their digest, hexadecimal."""

    start: int
    end: int | None
    digest: str


class Manifest(Struct, frozen=True):
    """files: the parts of each, in order and without gaps. digest: of the whole, `sha256:...`. ignored: paths that the
    signer has left out. follows_links: links were signed as what they lead to. in_parts: empty files are not listed.
    name: of all of it, as the signer calls it (modelward.integrity.naming)."""

    files: Mapping[str, tuple[Part, ...]]
    algorithm: Algorithm
    digest: str
    ignored: tuple[str, ...] = ALWAYS_IGNORED
    follows_links: bool = False
    in_parts: bool = False
    name: str = ""

    def ignores(self, name: str) -> bool:
        return any(name == path or name.startswith(f"{path}/") for path in self.ignored)

    def sha256_of(self, name: str) -> str | None:
        """Of a whole file; None where another algorithm, or parts, were signed."""
        parts = self.files.get(name, ())
        return parts[0].digest if self.algorithm == "sha256" and len(parts) == 1 and parts[0].end is None else None

    def matches(self, name: str, file: BinaryIO) -> bool:
        """Whether `file`, from here to its end, is what was signed under that name."""
        for part in self.files.get(name, ()):
            hasher = _hasher(self.algorithm)
            left = None if part.end is None else part.end - part.start
            while left is None or left > 0:
                chunk = file.read(CHUNK if left is None else min(CHUNK, left))
                if not chunk:
                    break
                hasher.update(chunk)
                left = None if left is None else left - len(chunk)
            if left or hasher.hexdigest() != part.digest:
                return False
        return name in self.files and not file.read(1)


def parse(payload: bytes) -> Manifest:
    """The manifest in the payload of a signature. Raises ValueError with words."""
    try:
        if msgspec.json.decode(payload, type=_Kind).predicate_type == OLD_PREDICATE:
            return _old(msgspec.json.decode(payload, type=_OldStatement))
        statement = msgspec.json.decode(payload, type=_Statement)
    except msgspec.ValidationError as error:
        raise ValueError(f"its statement is no OMS statement: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"its statement is no JSON: {error}") from None
    serialization, resources = statement.predicate.serialization, statement.predicate.resources
    if any(each.algorithm != serialization.hash_type for each in resources):
        raise ValueError("its digests are of another kind than it says")
    root = hashlib.sha256(b"".join(bytes.fromhex(each.digest) for each in resources)).hexdigest()
    if statement.subject[0].digest.get("sha256") != root:
        raise ValueError("its root digest is not that of its files")
    in_parts = serialization.method == "shards"
    if in_parts == (serialization.shard_size is None):
        raise ValueError("shard_size belongs to the method shards")
    return Manifest(
        _in_parts(resources, serialization.shard_size) if serialization.shard_size else _whole(resources),
        serialization.hash_type,
        f"sha256:{root}",
        tuple(dict.fromkeys((*ALWAYS_IGNORED, *map(_ignored, serialization.ignore_paths)))),
        serialization.allow_symlinks,
        in_parts,
        statement.subject[0].name,
    )


def _old(statement: _OldStatement) -> Manifest:
    """Each file is a subject."""
    if any("sha256" not in each.digest for each in statement.subject):
        raise ValueError("its statement is no OMS statement: a subject has no digest sha256")
    resources = [
        _Resource(name=each.name, digest=each.digest["sha256"], algorithm="sha256") for each in statement.subject
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(each.digest) for each in resources)).hexdigest()
    return Manifest(_whole(tuple(resources)), "sha256", f"sha256:{root}")


def _whole(resources: tuple[_Resource, ...]) -> dict[str, tuple[Part, ...]]:
    files: dict[str, tuple[Part, ...]] = {}
    for each in resources:
        if files.setdefault(_checked(each.name), (Part(0, None, each.digest),))[0].digest != each.digest:
            raise ValueError(f"it names {each.name!r} twice")
    return files


def _in_parts(resources: tuple[_Resource, ...], size: int) -> dict[str, tuple[Part, ...]]:
    """Of names PATH:START:END."""
    found: dict[str, list[Part]] = {}
    for each in resources:
        path, *numbers = each.name.rsplit(":", 2)
        if len(numbers) != 2 or not all(number.isascii() and number.isdecimal() for number in numbers):
            raise ValueError(f"{each.name!r} is no part of a file")
        start, end = map(int, numbers)
        if not 0 < end - start <= size or start % size:
            raise ValueError(f"{each.name!r} has another size than parts have")
        found.setdefault(_checked(path), []).append(Part(start, end, each.digest))
    files: dict[str, tuple[Part, ...]] = {}
    for path, parts in found.items():
        parts.sort(key=lambda part: part.start)
        ends = [0, *(part.end for part in parts[:-1])]
        if [part.start for part in parts] != ends:
            raise ValueError(f"parts of {path!r} are missing")
        files[path] = tuple(parts)
    return files


def _checked(name: str) -> str:
    """A path as section 6.1.2 wants it: relative, within the folder, in its only spelling."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or str(path) != name:
        raise ValueError(f"it names {name!r}, which is no path within the version")
    return name


def _ignored(path: str) -> str:
    return str(PurePosixPath(path))


def _hasher(algorithm: Algorithm) -> Any:
    if algorithm == "blake3":
        from blake3 import blake3  # noqa: PLC0415 - of the extra `signing`

        return blake3()
    return hashlib.new(algorithm)
