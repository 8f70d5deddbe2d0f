"""`modelward model show`: the digest, the files and the signature of a version."""

import argparse
import contextlib
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from modelward.cli.output import console, print_json, print_table
from modelward.cli.text import plain
from modelward.integrity.bundle import LARGEST, claim, parse
from modelward.integrity.listing import names_in
from modelward.integrity.locate import model_file
from modelward.integrity.manifest import parse as parse_manifest
from modelward.integrity.version_files import Provenance, VersionFiles, signature_file
from modelward.models.canary import LARGEST as LARGEST_CANARY
from modelward.models.canary import canary_file
from modelward.models.model_file import load_artifact
from modelward.problem import ProblemsFound
from modelward.repository.files import LARGEST_MODEL, open_inside, read_inside
from modelward.repository.scan import MODEL_FILE, default_profile
from modelward.score.size import MAX_FILE
from modelward.sealing.header import is_sealed
from modelward.sealing.opening import Opened, told_recipients

SUMMARY = "show the digest, the files and the signature of a version"
DESCRIPTION = (
    "Shows the digest of a version, which status and the metrics show too, the files that it is made of, and what its "
    "signature says. It does not verify the signature: modelward model verify does."
)
LONGEST_START = 256  # bytes that tell whether a file is sealed
COLUMNS = ("file", "what it is", "sha256", "sealed for")


class Listed(Struct, frozen=True):
    """sealed_for: kinds of its recipients, where it is sealed: the format tells no more."""

    name: str
    kind: str
    sha256: str
    sealed_for: tuple[str, ...] = ()


class Described(Struct, frozen=True):
    """claim: what the signature says of itself, "" where there is none."""

    file: Path
    files: tuple[Listed, ...]
    provenance: Provenance
    claim: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the version, or file of the model")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 where the version cannot be read."""
    print_version(describe(model_file(arguments.path)), arguments.json)
    return 0


def describe(file: Path, files: VersionFiles | None = None) -> Described:
    """Reads what would be loaded of the version whose model is `file`. files: with what is asked of its signature.

    Raises ProblemsFound.
    """
    files = files or VersionFiles(file.parent, file, as_it_lies)
    besides = ("profile", default_profile(file), MAX_FILE), ("canary", canary_file(file), LARGEST_CANARY)
    kinds = {files.name_of(file): "model"}
    told: dict[str, tuple[str, ...]] = {}
    with open_inside(file.parent, file) as (opened, _):
        sealed = is_sealed(opened.read(LONGEST_START))
    if sealed:  # which of them it names as external data, nobody knows without the key
        kinds[files.name_of(file)] = "sealed model"
        for name in names_in(file.parent, signature_file(file).name) if file.name == MODEL_FILE else [file.name]:
            told[name] = _recipients(files.read(files.root, file.parent / name, LARGEST_MODEL)[0], file.parent / name)
    else:
        load_artifact(files.root, file, files.read)
    for kind, beside, largest in besides:
        if files.has(beside):
            name = files.name_of(beside)
            told[name] = _recipients(files.read(files.root, beside, largest)[0], beside)
            kinds[name] = kind
    others = "sealed, or beside it" if sealed else "external data"
    listed = [
        Listed(name, kinds.get(name, others), files.hashes[name], told.get(name, ())) for name in sorted(files.hashes)
    ]
    return Described(file, tuple(listed), files.end(), _claim(file))


def as_it_lies(data: bytes, where: Path) -> Opened:
    """A sealed file too."""
    return Opened(data)


def _recipients(data: bytes, where: Path) -> tuple[str, ...]:
    return tuple(told_recipients(data, where)) if is_sealed(data) else ()


def print_version(version: Described, as_json: bool) -> None:
    proved = version.provenance
    if as_json:
        listed = [asdict(each) for each in version.files]
        signature = {"claim": version.claim, "signer": proved.signer or None, "kind": proved.kind or None}
        print_json({"path": str(version.file), "digest": proved.digest, "files": listed, "signature": signature})
        return
    rows = [(each.name, each.kind, each.sha256, ", ".join(each.sealed_for)) for each in version.files]
    columns = COLUMNS if any(each.sealed_for for each in version.files) else COLUMNS[:-1]
    print_table(str(version.file), columns, [row[: len(columns)] for row in rows])
    out = console()
    out.print(f"digest     {plain(proved.digest)}", soft_wrap=True)
    if proved.signer:
        out.print(f"signature  {plain(proved.signer)} ({proved.kind}), verified", soft_wrap=True)
    else:
        out.print(f"signature  {plain(version.claim or 'none')}", soft_wrap=True)


def _claim(file: Path) -> str:
    signature = signature_file(file)
    if not signature.exists():
        return ""
    try:
        bundle = parse(read_inside(file.parent, signature, LARGEST))
    except ProblemsFound as found:
        return f"cannot be read: {found.problems[0].what}"
    except ValueError as error:
        return f"is none that can be read: {error}"
    with contextlib.suppress(ValueError):  # a certificate that is none
        return f"{claim(bundle)}, for {parse_manifest(bundle.payload).name or 'no name'}, not verified"
    return f"made with a {bundle.kind} that cannot be read"
