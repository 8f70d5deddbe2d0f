"""`modelward canary record`: what a model must answer, before every start and reload, to be served."""

import argparse
from pathlib import Path

from modelward.child import ChildEnded
from modelward.cli import connect
from modelward.cli.canary_upstream import record_upstream
from modelward.cli.output import print_json, print_table
from modelward.config.units import SECOND, UnitError, parse_duration
from modelward.models.canary import ROWS, Canary, canary_file, record, request_of
from modelward.models.limited import run_in_child
from modelward.models.model_file import load_artifact
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import canonical
from modelward.score import ProfileError, load_table
from modelward.tensors import row_signature


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    taken = actions.add_parser("record", help="run a model and keep its answers", description=(
        "Runs a correct model on rows of a file, and writes inputs and answers where serve looks for them. "
        "A version that answers differently is not loaded. An .npz has one array per model input, by its name, "
        "rows first. csv and parquet have one row per line, columns in the order of the inputs. "
        "With --url it asks a running server, and writes the canary of a model that upstreams run."
    ))  # fmt: skip
    taken.add_argument("model", type=Path, metavar="MODEL", help="file of the model; with --url its name")
    taken.add_argument("--data", type=Path, required=True, metavar="FILE.npz|csv|parquet", help="rows to run")
    taken.add_argument("--rows", type=_rows, default=ROWS, help="number of rows, evenly spaced (default: %(default)s)")
    taken.add_argument(
        "--tolerance", type=_tolerance, help="allowed difference of floating-point outputs (default: by their datatype)"
    )
    taken.add_argument(
        "--out", type=Path, metavar="FILE", help="output file (default: beside the model, where serve looks for it)"
    )
    taken.add_argument(
        "--timeout", type=_seconds, default=60.0, metavar="60s", help="longest time to open and run the model"
    )
    taken.add_argument("--url", help="ask the server at host:port or unix:/path; needs --out")
    connect.add_arguments(taken)
    taken.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 where something is wrong with the model or the data."""
    if arguments.url is not None:
        _print(record_upstream(arguments), arguments.json)
        return 0
    model: Path = arguments.model
    try:
        file = canonical(model)
    except OSError as error:
        raise ProblemsFound([_problem(model, error.strerror or str(error))]) from error
    artifact = load_artifact(file.parent, file)
    out: Path = arguments.out or canary_file(model)
    try:
        rows = load_table(arguments.data, row_signature(artifact.inputs))
        inputs = request_of(rows, artifact.inputs, arguments.rows)
    except (ProfileError, ValueError) as error:
        raise ProblemsFound([_problem(arguments.data, str(error))]) from error
    try:
        answer = run_in_child(artifact.data, inputs, arguments.timeout)
        canary = record(answer, artifact.outputs, inputs, out, arguments.tolerance)
    except ChildEnded as ended:
        how = "Look into the model; --timeout 10m gives a slow one more time"
        raise ProblemsFound([Problem("the model does not survive its canary", str(model), str(ended), how)]) from None
    except ValueError as error:
        raise ProblemsFound([_problem(model, str(error))]) from error
    except OSError as error:
        raise ProblemsFound([_problem(out, error.strerror or str(error))]) from error
    _print(canary, arguments.json)
    return 0


def _problem(where: Path, why: str) -> Problem:
    return Problem("no canary can be recorded", str(where), why, "Check the path, and that the data fit the model")


def _rows(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 4096:
        raise argparse.ArgumentTypeError("write a number of rows from 1 to 4096")
    return number


def _seconds(text: str) -> float:
    try:
        return parse_duration(text) / SECOND
    except UnitError as error:
        raise argparse.ArgumentTypeError(f"{error}. {error.how}") from error


def _tolerance(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1e9:
        raise argparse.ArgumentTypeError("write a number of at least 0")
    return number


def _print(canary: Canary, as_json: bool) -> None:
    tensors = [
        *(("input", name, list(array.shape), "") for name, array in canary.inputs.items()),
        *(("output", name, list(array.shape), canary.tolerances[name]) for name, array in canary.expected.items()),
    ]
    if as_json:
        keys = ("kind", "name", "shape", "tolerance")
        print_json({"file": str(canary.file), "tensors": [dict(zip(keys, tensor, strict=True)) for tensor in tensors]})
        return
    print_table(str(canary.file), ("", "name", "shape", "may differ by"), tensors)
