"""READY: what is served, how, and which guards are off. A table on a terminal, plain lines anywhere else."""

from collections.abc import Iterator

from modelward.cli.output import console, plain, print_table
from modelward.config.listen import Listen
from modelward.server.report import COLUMNS, Report


def lines(report: Report) -> Iterator[str]:
    """READY and a line for each version, for logs: `model add, version 1, backend ..., guards off ...`."""
    yield "READY"
    for row in report.rows:
        cells = (", ".join(plain(cell).split("\n")) for cell in row)
        yield "; ".join(f"{column} {cell}" for column, cell in zip(COLUMNS, cells, strict=True))


def print_ready(report: Report, listen: Listen, workers: int = 1) -> None:
    """Prints the table, the addresses, and what there is to say about single models. listen: with real ports."""
    out = console()
    if out.is_terminal:
        print_table("READY", COLUMNS, report.rows)
    else:
        for line in lines(report):
            out.print(line, soft_wrap=True)
    out.print(f"gRPC     {listen.grpc}", soft_wrap=True)
    for label, text in report.guards:
        out.print(f"{label:<8} {plain(text)}", soft_wrap=True)
    if listen.admin is not None:
        out.print(f"admin    {listen.admin}", soft_wrap=True)
    base = f"http://{listen.http}" if not listen.http.is_unix else str(listen.http)
    out.print(f"metrics  {base}/metrics   health  {base}/healthz   readiness  {base}/readyz", soft_wrap=True)
    if workers > 1:
        out.print(f"workers  {workers}")
    for refused in report.refused:
        out.print(plain(refused), soft_wrap=True)
    for note in report.notes:
        out.print(f"note: {plain(note)}", soft_wrap=True)
    out.file.flush()
