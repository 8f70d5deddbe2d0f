"""`modelward model show`: the digest and the files of a version."""

import argparse
from pathlib import Path

from modelward.cli.output import console, plain, print_json, print_table
from modelward.integrity.locate import model_file
from modelward.integrity.version_files import VersionFiles
from modelward.models.artifact import load_artifact
from modelward.models.canary import LARGEST as LARGEST_CANARY
from modelward.models.canary import canary_file
from modelward.repository.scan import default_profile
from modelward.score.store import MAX_FILE

SUMMARY = "show the digest and the files of a version"
DESCRIPTION = (
    "Shows the digest of a version, which status and the metrics show too, and the files that it is made of: model, "
    "external data, profile and canary."
)
COLUMNS = ("file", "what it is", "sha256")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the version, or file of the model")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 where the version cannot be read."""
    file = model_file(arguments.path)
    files = VersionFiles(file.parent, file)
    load_artifact(files.root, file, files.read)
    kinds = {files.name_of(file): "model"}
    for kind, beside, largest in (
        ("profile", default_profile(file), MAX_FILE),
        ("canary", canary_file(file), LARGEST_CANARY),
    ):
        if files.has(beside):
            files.read(files.root, beside, largest)
            kinds[files.name_of(beside)] = kind
    rows = [(name, kinds.get(name, "external data"), files.hashes[name]) for name in sorted(files.hashes)]
    if arguments.json:
        keys = ("name", "kind", "sha256")
        listed = [dict(zip(keys, row, strict=True)) for row in rows]
        print_json({"path": str(arguments.path), "digest": files.digest, "files": listed})
        return 0
    print_table(str(arguments.path), COLUMNS, rows)
    console().print(f"digest  {plain(files.digest)}", soft_wrap=True)
    return 0
