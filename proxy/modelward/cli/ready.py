"""READY: what is served, how, and which guards are off. A table on a terminal, plain lines anywhere else, and one line
where the log is JSON."""

import sys
from collections.abc import Callable, Iterator
from functools import partial

from modelward.cli.output import console, is_terminal, print_table
from modelward.cli.text import plain
from modelward.config.listen import Listen
from modelward.server.report import COLUMNS, Report
from modelward.telemetry.logs import json_line


def lines(report: Report) -> Iterator[str]:
    """READY and a line for each version, for logs: `model add, version 1, backend ..., guards off ...`."""
    yield "READY"
    for row in report.rows:
        cells = (", ".join(plain(cell).split("\n")) for cell in row)
        yield "; ".join(f"{column} {cell}" for column, cell in zip(COLUMNS, cells, strict=True))


def print_json_ready(report: Report, listen: Listen, workers: int = 1) -> None:
    """The same as one line of the log, whose fields are for programs. listen: with real ports."""
    addresses = {name: str(getattr(listen, name)) for name in ("grpc", "http", "admin") if getattr(listen, name)}
    fields = {
        **addresses,
        "workers": workers,
        "models": [dict(zip(COLUMNS, row, strict=True)) for row in report.rows],
        "guards": dict(report.guards),
        "refused": [str(each) for each in report.refused],
        "notes": [*report.notes],
    }
    print(json_line("modelward.serve", "READY", fields), flush=True)


def print_ready(report: Report, listen: Listen, workers: int = 1) -> None:
    """Prints the table, the addresses, and what there is to say about single models. listen: with real ports."""
    say: Callable[[str], object] = print
    if is_terminal():
        print_table("READY", COLUMNS, report.rows)
        say = partial(console().print, soft_wrap=True)
    else:
        for line in lines(report):
            say(line)
    say(f"gRPC     {listen.grpc}")
    for label, text in report.guards:
        say(f"{label:<8} {plain(text)}")
    if listen.admin is not None:
        say(f"admin    {listen.admin}")
    base = f"http://{listen.http}" if not listen.http.is_unix else str(listen.http)
    say(f"metrics  {base}/metrics   health  {base}/healthz   readiness  {base}/readyz")
    if workers > 1:
        say(f"workers  {workers}")
    for refused in report.refused:
        say(plain(refused))
    for note in report.notes:
        say(f"note: {plain(note)}")
    sys.stdout.flush()
