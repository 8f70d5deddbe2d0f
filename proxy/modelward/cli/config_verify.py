"""`modelward config verify`: which approvers have signed a file, offline."""

import argparse
import time
from pathlib import Path

from modelward.cli.config_sign import add_model, read
from modelward.cli.output import console, print_json
from modelward.cli.text import plain
from modelward.config.approvals import Approvals, public_key
from modelward.config.settings_files import place_of, signatures_of
from modelward.config.units import SECOND
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import LARGEST_SETTINGS

SUMMARY = "tell which approvers have signed a configuration file"
DESCRIPTION = "Tell which approvers have signed a configuration file, offline: from FILE, FILE.sig and public keys."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="a configuration file, or a model.yaml")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="configuration with approvals.keys (default: FILE itself)"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="NAME=KEY", help="an approver's public key; may be repeated"
    )
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 where an approver has signed it, 1 where none has."""
    from modelward.approvals.signatures import signers  # noqa: PLC0415 - brings cryptography
    from modelward.audit.note import LARGEST_NOTE, NotSigned  # noqa: PLC0415

    file: Path = arguments.file
    keys, life = _keys(arguments)
    data = read(file, LARGEST_SETTINGS)
    note = read(signatures_of(file), LARGEST_NOTE)
    try:
        names = signers(note, data, place_of(file, arguments.model), keys, now=time.time(), life=life)
    except NotSigned as error:
        how = "modelward config sign FILE --key KEY --name NAME"
        raise ProblemsFound(
            [Problem("no approver's signature holds", str(signatures_of(file)), str(error), how)]
        ) from error
    if arguments.json:
        print_json({"file": str(file), "signers": [*names]})
    else:
        own = "" if arguments.trust or arguments.config else ", by keys of the file itself: --config has those in force"
        console().print(f"{plain(file)}: signed by {plain(', '.join(names))}{own}", soft_wrap=True)
    return 0


def _keys(arguments: argparse.Namespace) -> tuple[dict[str, str], float]:
    """And for how many seconds a signature holds."""
    from modelward.approvals.approver import keys as keys_of  # noqa: PLC0415
    from modelward.config.load import load  # noqa: PLC0415

    if arguments.trust:
        keys = dict(each.partition("=")[::2] for each in arguments.trust)
        for name, text in keys.items():
            try:
                public_key(text)
            except ValueError as error:
                how = "Write NAME=KEY, with the key as modelward config sign prints it"
                raise ProblemsFound([Problem("this is no public key", f"--trust {name}", str(error), how)]) from error
        return keys, Approvals().expire / SECOND
    config = load(arguments.config or arguments.file, environ={}, again=True)
    if config.approvals is None or not config.approvals.keys:
        how = "Set approvals.keys, or give --trust NAME=KEY"
        raise ProblemsFound([Problem("no approver's key is known", str(arguments.config or arguments.file), how=how)])
    return dict(keys_of(config)), config.approvals.expire / SECOND
