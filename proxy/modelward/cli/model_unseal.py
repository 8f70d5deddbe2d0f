"""`modelward model unseal`: a sealed version's files as they were, for those who own it."""

import argparse
from pathlib import Path

from modelward.cli.model_folder import Folder, files_of, plain_size
from modelward.cli.output import console, print_json, print_table
from modelward.cli.text import plain
from modelward.config.load import load
from modelward.config.sealing import IdentitySource
from modelward.problem import Problem, ProblemsFound
from modelward.sealing.keys import Found, identities_of
from modelward.sealing.opening import opener_of
from modelward.sealing.process import seclude
from modelward.sealing.sources import read

SUMMARY = "decrypt a sealed version to a folder"
DESCRIPTION = "Writes the files of a sealed version as they were, readable by you alone. A server needs no such copy."
FILE_MODE = 0o600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the version, or file of the model")
    add_identities(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make, for you alone")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def add_identities(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--identity",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="file with identities of age, or an SSH key; may be repeated",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration with sealing.identities")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 where something is wrong with the version, the keys or the folder."""
    found = identities(arguments)
    if not found.identities and not found.problems:
        how = "Write --identity FILE, or --config FILE with sealing.identities"
        raise ProblemsFound([Problem("there is no key to open the version with", "--identity", how=how)])
    version = files_of(arguments.path, opener_of(found))
    with Folder(arguments.out, FILE_MODE) as out:
        for name, data in version.files.items():
            out.write(name, data)
    sizes = plain_size(version.files)
    if arguments.json:
        print_json({"out": str(arguments.out), "files": sizes, "key": version.key})
        return 0
    print_table(str(arguments.out), ("file", "bytes"), [*sizes.items()])
    words = f"opened with {plain(version.key)}" if version.key else "none of the files was sealed"
    console().print(words, soft_wrap=True)
    return 0


def identities(arguments: argparse.Namespace) -> Found:
    """Those that the arguments name. Raises ProblemsFound where the configuration cannot be read."""
    seclude()
    sources = [IdentitySource(file=file) for file in arguments.identity]
    if arguments.config is not None:
        config = load(arguments.config, again=True)
        sources += config.sealing.identities if config.sealing is not None else ()
    return identities_of(map(read, sources))
