"""The chart of the cost of a request, as an SVG from the results of two load tests."""

from dataclasses import dataclass

from scripts.docs import DOCS
from scripts.docs.figures import SERVERS, cpu_us, result, us
from scripts.docs.svg import PALE, picture, text

CHART = DOCS / "reference" / "cost.svg"
LOAD = "8x16"

WIDTH, MARGIN = 980, 30
LABELS = 230  # x at which labels end
SCALE = 520  # length of the longest bar
ROW, BAR = 30, 18
MODELWARD, OTHER = "#0969da", "#afb8c1"


@dataclass(frozen=True)
class Row:
    """One bar. note: which guards the server has."""

    label: str
    note: str
    us: float


@dataclass(frozen=True)
class Panel:
    title: str
    rows: tuple[Row, ...]


def panels() -> list[Panel]:
    """Each from one result file."""
    return [
        Panel(
            "In front of another model server",
            (
                Row("Modelward", "every guard on", cpu_us("hop", LOAD, SERVERS["guarded"])),
                Row("HAProxy", "no limit", cpu_us("hop", LOAD, SERVERS["haproxy"])),
                Row("nginx", "one rate limit", cpu_us("hop", LOAD, SERVERS["nginx"])),
                Row("Envoy", "one rate limit", cpu_us("hop", LOAD, SERVERS["envoy"])),
            ),
        ),
        Panel(
            "Running the model itself",
            (
                Row("Modelward", "every guard on", cpu_us("race", LOAD, SERVERS["guarded"])),
                Row("Triton", "no guards", cpu_us("race", LOAD, SERVERS["triton"])),
            ),
        ),
    ]


def chart() -> str:
    """The whole file."""
    shown = panels()
    longest = max(row.us for panel in shown for row in panel.rows)
    body = [
        text(MARGIN, 36, "CPU time per request, in microseconds: shorter is better", size=17, weight=600),
        text(MARGIN, 57, "8 connections with 16 requests in flight on each; medians of alternating rounds", PALE),
    ]
    y = 70
    for panel in shown:
        y += 26
        body.append(text(MARGIN, y, panel.title, weight=600))
        y += 10
        for row in panel.rows:
            body += _bar(y, row, row.us / longest)
            y += ROW
    y += 28
    measured = dict.fromkeys(f"{result(each)['machine']}, {result(each)['date']}" for each in ("hop", "race"))
    for line in (result("hop")["proxies"], *measured):
        body.append(text(MARGIN, y, line, PALE, size=12))
        y += 18
    height = y + 2
    spoken = "; ".join(
        f"{panel.title}: {', '.join(f'{row.label} {us(row.us)}' for row in panel.rows)}" for panel in shown
    )
    return picture(WIDTH, height, f"CPU time per request. {spoken}", body)


def _bar(y: int, row: Row, share: float) -> list[str]:
    length = round(SCALE * share, 1)
    weight, colour = (600, MODELWARD) if row.label == "Modelward" else (400, OTHER)
    middle = y + BAR - 4
    return [
        text(LABELS, middle, row.label, weight=weight, anchor="end"),
        f'<rect x="{LABELS + 12}" y="{y}" width="{length}" height="{BAR}" rx="2" fill="{colour}"/>',
        text(
            LABELS + 20 + length,
            middle,
            f'{us(row.us)}<tspan dx="10" fill="{PALE}" font-weight="400" font-size="12">{row.note}</tspan>',
            weight=weight,
        ),
    ]
