"""`modelward model scan`: what a model, a version or a repository holds that it should not."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from modelward.atomic_file import replace_file
from modelward.cli.output import console, print_json, print_problems, print_table
from modelward.cli.text import plain
from modelward.problem import Problem, ProblemsFound, WrongUsage
from modelward.scanning.finding import Finding, as_bad_as, counts_of, summary
from modelward.scanning.rule import SEVERITIES
from modelward.scanning.sarif import sarif
from modelward.scanning.scanner import Scan, scan

COLUMNS = ("severity", "file", "found", "rule")
REFUSED, NOT_SCANNED = 1, 2
STDOUT = "-"


SUMMARY = "find what a model, a version or a repository holds that it should not"
DESCRIPTION = (
    "Looks at the structure of models and at the files beside them, and loads nothing: operators, constants, loops, "
    "names, hidden data, links, pickles."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="a model, a version's folder or a repository")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    help_ = "also write the findings as SARIF 2.1.0; - prints that instead of a table"
    parser.add_argument("--sarif", metavar="FILE", help=help_)
    parser.add_argument(
        "--fail-on",
        choices=[*SEVERITIES, "never"],
        default="high",
        help="exit with 1 for findings as severe as this, or more (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, 1 where something as severe as `--fail-on` was found, or 2 where no model was scanned."""
    try:
        if arguments.json and arguments.sarif == STDOUT:
            raise WrongUsage("--json and --sarif - both print to standard output: leave one of them out")
        return _run(arguments)
    except ProblemsFound as problem:
        print_problems(problem.problems)
        return NOT_SCANNED


def _run(arguments: argparse.Namespace) -> int:
    found = _scan(arguments.path)
    failing = [] if arguments.fail_on == "never" else as_bad_as(found.findings, arguments.fail_on)
    if arguments.sarif is not None:
        _write(arguments.sarif, found)
    if arguments.sarif == STDOUT:
        pass
    elif arguments.json:
        print_json(_as_json(arguments.path, found, failed=bool(failing)))
    else:
        _print(arguments.path, found)
    if failing:
        return REFUSED
    if not found.models:
        how = "Name a model (.onnx), a version's folder or a repository"
        raise ProblemsFound([Problem("nothing that was scanned is a model", str(arguments.path), how=how)])
    return 0


def _scan(path: Path) -> Scan:
    out = console(error=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} files"))
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("scanning", total=None)

        def tell(file: Path) -> None:
            progress.update(task, advance=1, description=f"scanning {plain(file.name)}")

        return scan(path, tell)


def _write(file: str, found: Scan) -> None:
    from importlib.metadata import version  # noqa: PLC0415 - takes longer than a scan

    text = json.dumps(sarif(found.findings, version("modelward")), indent=2) + "\n"
    if file == STDOUT:
        sys.stdout.write(text)
        return
    try:
        replace_file(Path(file), text)
    except OSError as error:
        why = error.strerror or str(error)
        raise ProblemsFound([Problem("the findings cannot be written", file, why, "Name another file")]) from error


def _print(path: Path, found: Scan) -> None:
    scanned = f"{found.files} file{'' if found.files == 1 else 's'}, {found.size:,} bytes"
    if not found.findings:
        console().print(f"{plain(path)}: nothing found in {scanned}", soft_wrap=True)
        return
    title = f"{path}: {summary(found.findings)} in {scanned}"
    rows = [(each.severity, _relative(path, each), each.words, each.rule) for each in found.findings]
    print_table(title, COLUMNS, rows)
    _print_mends(found.findings)


def _relative(path: Path, finding: Finding) -> str:
    file = Path(finding.file)
    return str(file.relative_to(path)) if path != file and file.is_relative_to(path) else file.name


def _print_mends(findings: tuple[Finding, ...]) -> None:
    """Once for each rule, the worst first."""
    rows = [(rule, why, how) for rule, why, how in dict.fromkeys(map(_mend, findings))]
    print_table("why it matters, and how to mend it", ("rule", "why", "mend"), rows)


def _mend(finding: Finding) -> tuple[str, str, str]:
    return finding.rule, finding.problem.why, finding.problem.how


def _as_json(path: Path, found: Scan, *, failed: bool) -> dict[str, Any]:
    return {
        "path": plain(path),
        "files": found.files,
        "models": found.models,
        "bytes": found.size,
        "failed": failed,
        "counts": counts_of(found.findings),
        "findings": [{key: plain(value) if isinstance(value, str) else value for key, value in each.as_json().items()}
                     for each in found.findings],
    }  # fmt: skip
