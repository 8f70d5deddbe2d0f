"""`modelward config sign`: writes FILE.sig, or adds a signature to it."""

import argparse
import getpass
import time
from pathlib import Path

from modelward.atomic_file import replacing
from modelward.bounded_file import read_regular
from modelward.cli.output import console
from modelward.cli.text import plain
from modelward.config.settings_files import MAIN, place_of, signatures_of
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import LARGEST_SETTINGS

SUMMARY = "approve a configuration file by a signature beside it"
DESCRIPTION = (
    "Write FILE.sig, or add a signature to it. Where approvals.reload asks for approvals, a server follows the file "
    "once enough approvers of approvals.keys have signed it."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="a configuration file, or a model.yaml")
    help_ = "the approver's Ed25519 key, PEM (no key of a curve, which `model sign` takes)"
    parser.add_argument("--key", type=Path, metavar="FILE", required=True, help=help_)
    parser.add_argument(
        "--name", default="", help="name of the approver, as approvals.keys has it (default: the user who runs this)"
    )
    add_model(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    help_ = "the model whose model.yaml FILE is (default: as its folder is called, where FILE is a model.yaml)"
    parser.add_argument("--model", metavar="NAME", default="", help=help_)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when it is signed, 1 where it cannot be."""
    from modelward.approvals.signatures import private_key, public_line, sign  # noqa: PLC0415 - brings cryptography
    from modelward.audit.note import LARGEST_NOTE, NotSigned, is_name  # noqa: PLC0415

    file: Path = arguments.file
    name = arguments.name or getpass.getuser()
    if not is_name(name):
        raise ProblemsFound([Problem(f"{name!r} names no approver", "--name", how="Write it without spaces and +")])
    key = private_key(arguments.key)
    data, place = read(file, LARGEST_SETTINGS), place_of(file, arguments.model)
    signatures = signatures_of(file)
    try:
        before = read_regular(signatures, LARGEST_NOTE)
    except FileNotFoundError:
        before = None
    try:
        note = sign(data, place, name, key, now=time.time(), before=before)
    except NotSigned as error:
        how = "Remove it, and sign again"
        raise ProblemsFound(
            [Problem("the file of signatures cannot be used", str(signatures), str(error), how)]
        ) from error
    with replacing(signatures, 0o644) as out:
        out.write(note)
    what = "the main file of a configuration" if place == MAIN else place
    console().print(f"{plain(signatures)}: signed by {plain(name)}, as {plain(what)}", soft_wrap=True)
    console().print(f"in approvals.keys: {plain(name)}: {public_line(key)}", soft_wrap=True)
    return 0


def read(file: Path, largest: int) -> bytes:
    """Raises ProblemsFound."""
    try:
        return read_regular(file, largest)
    except OSError as error:
        why, how = error.strerror or str(error), "Name a file that you may read"
        raise ProblemsFound([Problem("the file cannot be read", str(file), why, how)]) from error
