"""`modelward model sign`: a signature of OpenSSF Model Signing beside the files of a version."""

import argparse
from pathlib import Path

from rich.progress import Progress, SpinnerColumn, TextColumn

from modelward.bounded_file import read_regular
from modelward.cli.model_show import describe, print_version
from modelward.cli.output import console
from modelward.cli.text import plain
from modelward.integrity.locate import model_file
from modelward.integrity.naming import name_by_path, names_version
from modelward.integrity.signing import Signer, sign
from modelward.problem import Problem, ProblemsFound
from modelward.repository.scan import MODEL_FILE

SUMMARY = "sign the files of a version"
DESCRIPTION = (
    "Signs all files of a version, its canary and profile among them, in the format of OpenSSF Model Signing. The "
    "signature lies beside them: model.sig in the folder of a model.onnx, STEM.sig beside any other file. It counts "
    "for one version of one model: the one whose place in a repository the path is, or --name."
)
LONGEST_PASSWORD = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the version, or file of the model")
    parser.add_argument(
        "--key",
        type=Path,
        required=True,
        metavar="KEY.pem",
        help="private key, PEM: of the curve P-256, P-384 or P-521 (no Ed25519, which `config sign` takes)",
    )
    parser.add_argument(
        "--name", metavar="MODEL/VERSION", help="what the version is served as; absent: as the path says"
    )
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="file with the password of the key")
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE.pem",
        help="certificate of the key, which then goes into the signature",
    )
    parser.add_argument(
        "--chain",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.pem",
        help="certificates between that one and its authority; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 where the version cannot be signed."""
    file = model_file(arguments.path)
    name = _name(arguments)
    if arguments.certificate is not None and arguments.password_file is not None:
        how = "Decrypt the key for as long as you sign"
        raise ProblemsFound([Problem("a key with a certificate cannot have a password", str(arguments.key), how=how)])
    signer = Signer(arguments.key, _password(arguments.password_file), arguments.certificate, arguments.chain)
    version = describe(file)
    beside = [file.parent / each.name for each in version.files if file.parent / each.name != file]
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=console(error=True), transient=True) as progress:
        task = progress.add_task("hashing")
        try:
            out = sign(
                file, signer, name, beside, lambda each: progress.update(task, description=f"hashed {plain(each)}")
            )
        except OSError as error:
            how = "Check the path and its permissions"
            where = str(error.filename or file.parent)
            what = "the version cannot be signed"
            raise ProblemsFound([Problem(what, where, error.strerror or str(error), how)]) from error
    print_version(describe(file), arguments.json)
    if not arguments.json:
        covered = "all files of the folder" if file.name == MODEL_FILE else "these files"
        console().print(f"{plain(out)} now covers {covered}, as {plain(name)}", soft_wrap=True)
    return 0


def _name(arguments: argparse.Namespace) -> str:
    name: str = arguments.name if arguments.name is not None else name_by_path(arguments.path)
    if names_version(name):
        return name
    how = "Name it: --name MODEL/VERSION, such as fraud/7"
    if arguments.name is not None:
        raise ProblemsFound([Problem("--name names no model and version", plain(name), how=how)])
    why = "a signature counts for one version of one model, and the path does not end in MODEL/VERSION"
    raise ProblemsFound([Problem("what the version is served as is not known", str(arguments.path), why, how)])


def _password(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return read_regular(file, LONGEST_PASSWORD).rstrip(b"\r\n")
    except OSError as error:
        how = "Check the path and its permissions"
        why = error.strerror or str(error)
        raise ProblemsFound([Problem("the password cannot be read", str(file), why, how)]) from error
