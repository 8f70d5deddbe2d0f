"""`modelward model seal`: a version's files encrypted for those who may open them."""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelward.bounded_file import read_regular
from modelward.cli.model_folder import Folder, files_of, plain_size
from modelward.cli.output import console, print_json, print_notes, print_table
from modelward.cli.text import plain
from modelward.config.sealing import LARGEST_SECRET
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import LARGEST_MODEL
from modelward.sealing import keys
from modelward.sealing.header import is_sealed
from modelward.sealing.opening import Opened

SUMMARY = "encrypt the files of a version for named recipients"
DESCRIPTION = (
    "Encrypts model, external data, profile and canary of a version in the format of age, each under its own name. "
    "A server opens them in the memory of its workers with a key of sealing.identities."
)
FILE_MODE = 0o644  # workers of another user may read it
HOW_RECIPIENTS = "Write --recipient age1... (age-keygen prints it), or --recipients-file FILE"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the version, or file of the model")
    parser.add_argument(
        "--recipient",
        action="append",
        default=[],
        metavar="age1...",
        help="public key of age, of a plugin of age, or of SSH; may be repeated",
    )
    parser.add_argument(
        "--recipients-file",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="file with recipients, one a line, comments behind #; may be repeated",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make for the sealed files")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 where something is wrong with the version, the recipients or the folder."""
    if importlib.util.find_spec("pyrage") is None:
        how = "Install it: pip install pyrage"
        raise ProblemsFound([Problem("sealing needs the package pyrage", "pyrage", "it is not installed", how)])
    whom, texts = _recipients(arguments.recipient, arguments.recipients_file)
    version = files_of(arguments.path, _refuse_sealed)
    with Folder(arguments.out, FILE_MODE) as out:
        for name, data in version.files.items():
            sealed = _sealed(data, whom)
            if len(sealed) > LARGEST_MODEL:
                why = f"{len(sealed)} bytes once it is sealed, and a server reads at most {LARGEST_MODEL}"
                raise ProblemsFound([Problem("the file is too large to be sealed", name, why, "Use a smaller model")])
            out.write(name, sealed)
    if version.others:
        listed = ", ".join(version.others)
        how = "Copy what is needed. A signature is over the files as they were: sign the sealed version"
        print_notes([Problem("other files of the folder were left out", str(arguments.path), listed, how)])
    sizes = plain_size(version.files)
    if arguments.json:
        print_json({"out": str(arguments.out), "files": sizes, "recipients": texts, "left_out": version.others})
        return 0
    print_table(str(arguments.out), ("sealed file", "bytes before"), [*sizes.items()])
    console().print(f"for {plain(', '.join(texts))}", soft_wrap=True)
    return 0


def _sealed(data: bytes, whom: Sequence[Any]) -> bytes:
    try:
        return keys.seal(data, whom)
    except ValueError as error:
        how = "Name fewer recipients, or some of age in place of RSA keys"
        what = "the version cannot be sealed for all of them"
        raise ProblemsFound([Problem(what, "--recipient", str(error), how)]) from error


def _refuse_sealed(data: bytes, where: Path) -> Opened:
    if is_sealed(data):
        how = "For other recipients, unseal it first: modelward model unseal"
        raise ProblemsFound([Problem("the file is sealed already", str(where), how=how)])
    return Opened(data)


def _recipients(texts: Sequence[str], files: Sequence[Path]) -> tuple[list[Any], list[str]]:
    """As pyrage takes them, and as they were written. Raises ProblemsFound."""
    written = [("--recipient", text) for text in texts]
    for file in files:
        try:
            lines = keys.lines(read_regular(file, LARGEST_SECRET).decode())
        except (OSError, ValueError) as error:
            why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise ProblemsFound([Problem("recipients cannot be read", str(file), why, HOW_RECIPIENTS)]) from error
        written += [(str(file), line) for line in lines]
    if not written:
        raise ProblemsFound([Problem("no recipient is named", "--recipient", how=HOW_RECIPIENTS)])
    found, problems = [], []
    for where, text in written:
        try:
            found.append(keys.recipient(text))
        except ValueError as error:
            problems.append(Problem("this is no recipient", where, str(error), HOW_RECIPIENTS))
    if problems:
        raise ProblemsFound(problems)
    return found, [text for _, text in written]
