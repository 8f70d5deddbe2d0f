"""`modelward capture`: what was captured of a model's requests, labels for it, and training sets made of it."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from modelward.cli import admin, capture_folder
from modelward.problem import Problem, ProblemsFound


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
    show.add_argument("--identity", metavar="HASH", help="rows of this identity alone")
    show.add_argument("--quarantine", action="store_true", help="suspicious rows alone")
    label = actions.add_parser("label", help="add labels that arrive later", description=(
        "Keeps labels beside the captured rows of a model. Exports join them by request or trace."
    ))  # fmt: skip
    capture_folder.add_arguments(label)
    label.add_argument(
        "labels", type=Path, metavar="FILE", help="CSV or Parquet with label and request_id or trace_id, perhaps row"
    )
    export = actions.add_parser("export", help="build a training set", description=(
        "Builds a training set of captured rows in which no identity has much influence, and tells what was left out "
        "of it and why."
    ))  # fmt: skip
    capture_folder.add_arguments(export)
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="Parquet file to write")
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
