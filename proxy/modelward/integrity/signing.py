"""A version signed: its files hashed as they will be read, and the signature written beside them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from modelward.atomic_file import replacing
from modelward.bounded_file import read_regular
from modelward.integrity import library
from modelward.integrity.listing import names_in
from modelward.integrity.manifest import ALWAYS_IGNORED, CHUNK
from modelward.integrity.version_files import LARGEST_UNREAD, signature_file
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import open_inside
from modelward.repository.scan import MODEL_FILE

LARGEST_KEY = 64 << 10
FILE_MODE = 0o644  # workers of another user may read it


class Signer(Struct, frozen=True):
    """key: PEM, private. password: of the key. certificate: PEM, of the same key; chain: PEM, of those who vouch for it
    up to an authority. Without a certificate a signature is of the key."""

    key: Path
    password: bytes | None = None
    certificate: Path | None = None
    chain: Sequence[Path] = ()


def sign(
    file: Path,
    signer: Signer,
    name: str,
    beside: Iterable[Path] = (),
    hashed: Callable[[str], None] = lambda name: None,
) -> Path:
    """Signs the version whose model is `file` as `name`, MODEL/VERSION, and returns where its signature lies. Raises
    ProblemsFound, OSError.

    A model.onnx is signed with all that its folder holds; any other file with `beside`. hashed: told of each file.
    """
    if (problem := library.missing()) is not None:
        raise problem
    out = signature_file(file)
    names = names_in(file.parent, out.name) if file.name == MODEL_FILE else [each.name for each in (file, *beside)]
    hashes = {}
    for each in sorted(names):
        hashes[each] = _sha256(file.parent, file.parent / each)
        hashed(each)
    text = _signature(name, hashes, out.name, signer)
    with replacing(out, FILE_MODE) as written:
        written.write(text)
    return out


def _sha256(root: Path, path: Path) -> str:
    hasher = hashlib.sha256()
    with open_inside(root, path, LARGEST_UNREAD) as (opened, _):
        while chunk := opened.read(CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def _check_kind(signer: Signer) -> None:
    """Raises ValueError for a key of another kind, of which the library tells badly. A file that cannot be read
    is left to it."""
    try:
        key = serialization.load_pem_private_key(read_regular(signer.key, LARGEST_KEY), signer.password)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        kind = type(key).__name__.removesuffix("PrivateKey").lstrip("_")
        raise ValueError(f"it is a key of the kind {kind}, and model signatures take none")


def _signature(name: str, hashes: Mapping[str, str], own_name: str, signer: Signer) -> bytes:
    ignored = [*ALWAYS_IGNORED, own_name]
    try:
        _check_kind(signer)
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder, own_name)
            library.sign(name, hashes, ignored, written, key=signer.key, password=signer.password,
                         certificate=signer.certificate, chain=signer.chain)  # fmt: skip
            return written.read_bytes()
    except ValueError as error:
        how = "Use a PEM key of the curve P-256, P-384 or P-521, and the certificate that was made for it"
        raise ProblemsFound([Problem("the version cannot be signed", str(signer.key), str(error), how)]) from error
