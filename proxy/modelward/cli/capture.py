"""`modelward capture`: what was captured of a model's requests, labels for it, and training sets made of it."""

from __future__ import annotations

import argparse
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelward.cli import admin, capture_folder
from modelward.cli.output import print_json, print_problems, print_table
from modelward.problem import Problem, ProblemsFound

HASH = "[0-9a-f]{16}"
OTHER_FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".npz", ".npy", ".xlsx", ".feather", ".arrow")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="list what there is by version, day and part", description=(
        "Lists captured rows of a model by version, day and part."
    ))  # fmt: skip
    capture_folder.add_arguments(listed)
    show = actions.add_parser("show", help="show captured rows", description=(
        "Shows captured rows of a model, the newest first."
    ))  # fmt: skip
    capture_folder.add_arguments(show)
    show.add_argument("--limit", type=_count, default=20, metavar="N", help="rows (default: %(default)s)")
    show.add_argument("--identity", type=_hash, metavar="HASH", help="rows of this identity alone")
    show.add_argument("--quarantine", action="store_true", help="suspicious rows alone")
    who = actions.add_parser("who", help="tell whose hash stands in captured rows", description=(
        "Tells whose hashes stand in captured rows, and what the hash of a name is. It asks a running server, which "
        "knows the names of API keys and of callers that it has seen much of."
    ))  # fmt: skip
    who.add_argument("--model", required=True, metavar="NAME", help="name of the model")
    who.add_argument("who", nargs="+", metavar="HASH|IDENTITY", help="a hash of 16 digits, or the name of an identity")
    admin.add_arguments(who)
    label = actions.add_parser("label", help="add labels that arrive later", description=(
        "Keeps labels beside the captured rows of a model. Exports join them by identity, and request or trace."
    ))  # fmt: skip
    capture_folder.add_arguments(label)
    label.add_argument(
        "labels",
        type=Path,
        metavar="FILE",
        help="CSV or Parquet with label and request_id or trace_id, perhaps row and identity",
    )
    label.add_argument(
        "--identity", metavar="HASH",
        help="whose requests the labels are of, where the file has no column identity; any: of whichever sends the id",
    )  # fmt: skip
    export = actions.add_parser("export", help="build a training set", description=(
        "Builds a training set of captured rows in which no identity has much influence, and tells what was left out "
        "of it and why."
    ))  # fmt: skip
    capture_folder.add_arguments(export)
    export.add_argument("--out", type=_parquet, required=True, metavar="FILE", help="Parquet file to write")
    export.add_argument("--from", dest="since", metavar="TIME", help="requests of this time and later (ISO 8601, UTC)")
    export.add_argument("--to", dest="until", metavar="TIME", help="requests before this time")
    export.add_argument("--labels", type=Path, metavar="FILE", help="labels beside those that were kept")
    export.add_argument(
        "--max-share-per-identity", type=_share, default=0.05, metavar="S",
        help="largest part of the rows that one identity may have (default: %(default)s)",
    )  # fmt: skip
    export.add_argument(
        "--max-per-cluster", type=_count, default=50, metavar="N",
        help="rows that are near duplicates of each other (default: %(default)s)",
    )  # fmt: skip
    export.add_argument("--max-rows", type=_count, metavar="N", help="rows that are read (default: 2,000,000)")
    export.add_argument("--quarantine", action="store_true", help="take suspicious rows too")
    export.add_argument(
        "--leave-out-lone-values", action="store_true", help="leave out rows with values that one identity alone sends"
    )
    export.add_argument("--seed", type=int, default=0, metavar="N", help="of what is chosen at random")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, 1 where there is a problem, 2 where no server answers."""
    if arguments.action == "who":
        return admin.run(arguments, lambda client: _who(client, arguments))
    if find_spec("pyarrow") is None:
        how = "pip install 'modelward[capture]'"
        raise ProblemsFound([Problem("the package pyarrow is not installed", "modelward capture", how=how)])
    from modelward.cli import capture_export, capture_list  # noqa: PLC0415 - they bring pyarrow

    works = {
        "list": capture_list.listed,
        "show": capture_list.show,
        "label": capture_export.label,
        "export": capture_export.export,
    }
    work = works[arguments.action]
    if arguments.folder is not None or arguments.state is not None:
        return work(capture_folder.of_files(arguments), arguments)
    return admin.run(arguments, lambda client: work(capture_folder.of_server(client, arguments), arguments))


def _who(client: admin.Client, arguments: argparse.Namespace) -> int:
    fields = {"model": arguments.model, "action": "who", "who": arguments.who}
    answer: Any = client.call("OpenCapture", admin.ANSWER_SECONDS, **fields)
    if problems := admin.problems_of(answer):
        raise ProblemsFound(problems)
    found = dict(answer.who)
    if arguments.json:
        print_json(found)
    elif found:
        print_table("identities of captured rows", ("hash", "whose"), sorted(found.items()))
    unknown = [text for text in arguments.who if re.fullmatch(HASH, text) and text not in found]
    if unknown:
        how = "Give names that it may be: the hash of each is told"
        print_problems([Problem("the server knows no name for it", each, how=how) for each in unknown])
    return 1 if unknown else 0


def _hash(text: str) -> str:
    if re.fullmatch(HASH, text) is None:
        raise argparse.ArgumentTypeError("a hash of 16 digits; modelward capture who tells that of a name")
    return text


def _parquet(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() in OTHER_FORMATS:
        raise argparse.ArgumentTypeError(f"it is a Parquet file that is written: name it {path.stem}.parquet")
    return path


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("above 0, and at most 1")
    return share
