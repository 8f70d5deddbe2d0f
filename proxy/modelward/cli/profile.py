"""`modelward profile fit` and `show`: the training profile that the anomaly guard compares requests with."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from modelward.cli.output import console, print_json, print_table
from modelward.models.model_file import load_artifact
from modelward.problem import Problem, ProblemsFound
from modelward.repository.files import canonical
from modelward.repository.scan import default_profile
from modelward.score import Profile, ProfileError, load_table
from modelward.tensors import row_signature


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    fit = actions.add_parser("fit", help="fit a profile to training data", description=(
        "Fits the profile of a model to its training data, which must hold only normal rows. An .npz has one array "
        "per model input, by its name, rows first. csv and parquet have a row per line, columns as the inputs."
    ))  # fmt: skip
    fit.add_argument("model", type=Path, metavar="MODEL.onnx", help="file of the model")
    fit.add_argument("--data", type=Path, required=True, metavar="FILE.npz|csv|parquet", help="training data")
    fit.add_argument(
        "--out", type=Path, metavar="FILE", help="output file (default: beside the model, where serve looks for it)"
    )
    fit.add_argument(
        "--seed", type=int, default=0, help="seed; the same data and seed give the same profile (default: 0)"
    )
    show = actions.add_parser("show", help="show a profile", description="Shows the content of a profile.")
    show.add_argument("file", type=Path, metavar="FILE", help="file of the profile")
    for action in (fit, show):
        action.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


HOW_DATA = "Give rows of the model's inputs: an .npz by input name, or a csv or parquet with a column for each element"


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 where something is wrong with the model, the data or the profile."""
    return _fit(arguments) if arguments.action == "fit" else _show(arguments)


def _fit(arguments: argparse.Namespace) -> int:
    model: Path = arguments.model
    with _problems_at(model):
        folder = canonical(model).parent
    artifact = load_artifact(folder, canonical(model))
    inputs = row_signature(artifact.inputs)
    out: Path = arguments.out or default_profile(model)
    with _problems_at(arguments.data, HOW_DATA):
        rows = load_table(arguments.data, inputs)
        varying = [name for name, (_, shape) in inputs.items() if -1 in shape]
        with _progress() as report:
            profile = Profile.fit(rows, varying=varying, seed=arguments.seed, progress=report)
    with _problems_at(out):
        profile.save(out)
    _print_profile(profile, out, arguments.json)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    with _problems_at(arguments.file, "Name a profile that modelward profile fit has written"):
        profile = Profile.load(arguments.file)
    _print_profile(profile, arguments.file, arguments.json)
    return 0


@contextmanager
def _problems_at(where: Path, mend: str = "") -> Iterator[None]:
    """Tells the failures of one file as problems. mend: of those that do not say how."""
    try:
        yield
    except ProfileError as error:
        what, _, how = str(error).partition("; ")  # as far as it says how
        how = f"{how[:1].upper()}{how[1:]}" if how else mend
        raise ProblemsFound([Problem(what, str(where), how=how)]) from error
    except OSError as error:
        how = "Check the path and its permissions"
        raise ProblemsFound([Problem("this cannot be used", str(where), error.strerror or str(error), how)]) from error


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar on stderr, shown to people only; yields the callback (stage, done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    out = console(error=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("fitting", total=None)

        def report(stage: str, done: int, total: int) -> None:
            progress.update(task, description=stage, completed=done, total=total)

        yield report


def _print_profile(profile: Profile, file: Path, as_json: bool) -> None:
    facts = profile.describe()
    if as_json:
        print_json({"file": str(file), **facts})
        return
    print_table(str(file), ("what", "value"), [
        ("training rows", f"{facts['trained_rows']:,}"),
        ("features", facts["features"]),
        ("distances", f"{facts['space']}, to the nearest {facts['neighbours']}"),
        ("prototypes", f"{facts['prototypes']:,} in {facts['cells']} cells"),
        *((f"anomalous at a false positive rate of {rate}", f"score {score:.4g} and above")
          for rate, score in facts["thresholds"].items()),
    ])  # fmt: skip
    print_table("inputs", ("name", "kind", "elements per row", "features", "known categories"), [
        (
            entry["name"],
            entry["kind"],
            "varying" if entry["elements"] is None else entry["elements"],
            entry.get("features", ""),
            ", ".join("any" if known is None else str(known) for known in entry.get("categories", [])),
        )
        for entry in facts["inputs"]
    ])  # fmt: skip
