"""The stages of a request in the documents: their tables in docs/design/stages.md, and the picture of a request's life.

Both are written from `modelward_native.request.pipeline.stages`, the tables from which requests are driven.
"""

import re
from dataclasses import dataclass

from modelward_native.request.pipeline import stages
from scripts.docs import DOCS, markdown
from scripts.docs.svg import INK, PALE, picture, text

PAGE = DOCS / "design" / "stages.md"
PICTURE = DOCS / "explanation" / "request.svg"
MARKED = re.compile(r"(<!-- stages -->\n).*?(<!-- /stages -->)", re.DOTALL)
PHASES = {"headers": "At the headers", "message": "At the message", "completion": "At completion"}
# what a stage does, in the picture
DOES = {
    "timeout": "readable?",
    "peer": "a look only",
    "identify": "who calls",
    "method": "may be called?",
    "resolve": "which model",
    "permit": "may be asked?",
    "restrict": "is it blocked?",
    "limit": "four budgets",
    "inflate": "if compressed",
    "decode": "scan, validate",
    "score": "unlike training?",
    "divert": "to the fallback?",
    "deadline": "timer is set",
    "admit": "permit, or queue",
    "release": "permit is back",
    "mirror": "ask shadows too",
    "watch": "theft? evasion?",
    "guard": "answer allowed?",
    "fallback": "if it failed",
    "observe": "a sample kept",
    "soften": "scores, if restricted",
    "trim": "what was asked for",
    "reply": "answer or error",
    "record": "count",
    "hold": "later, if restricted",
    "send": "to the client",
}

COLUMN, WIDE, TALL, LEFT = 116, 98, 50, 30
BEFORE_HEADERS = 2  # boxes before the first stage: the client and the wire
FILL = {"headers": "#f6f8fa", "message": "#ddf4ff", "completion": "#dafbe1"}
LINE, MAY_REFUSE = "#6e7781", "#cf222e"


@dataclass(frozen=True)
class Stage:
    name: str
    reasons: tuple[str, ...]
    why: str


def phases() -> dict[str, list[Stage]]:
    return {
        phase: [Stage(name, tuple(reasons.split()), why) for name, reasons, why in rows]
        for phase, rows in stages().items()
    }


def with_stages(page: str) -> str:
    """The page with the tables as the code has them. Raises ValueError where it has no place for them."""
    written, count = MARKED.subn(lambda found: f"{found[1]}\n{tables()}\n\n{found[2]}", page)
    if count != 1:
        raise ValueError(f"{count} places for the stages")
    return written


def tables() -> str:
    return "\n\n".join(f"## {PHASES[phase]}\n\n{_table(phase, rows)}" for phase, rows in phases().items())


def _table(phase: str, rows: list[Stage]) -> str:
    if phase == "completion":
        return markdown.table(("stage", "why there"), [(markdown.code(row.name), row.why) for row in rows])
    return markdown.table(
        ("stage", "may refuse with", "why there"),
        [
            (
                markdown.code(row.name),
                ", ".join(f"[{reason}](../reference/refusals.md#{reason})" for reason in row.reasons) or "-",
                row.why,
            )
            for row in rows
        ],
    )


def drawing(at: dict[str, list[Stage]]) -> str:
    """Three rows of stages, and the backend between the second and the third. It is as wide as the longest row."""
    first, second, backend, third = 46, 156, 262, 382
    # the last column of each row; that of the completion holds the client again
    headers, message, completion = (
        BEFORE_HEADERS + len(at["headers"]) - 1,
        len(at["message"]) - 1,
        len(at["completion"]),
    )
    right = max(headers, message, completion)
    width = _x(right) + WIDE + LEFT
    edge = _x(right) + WIDE + 12  # where the line from the headers turns back to the left
    start, last = LEFT + WIDE / 2, _x(message) + WIDE / 2  # middles
    fallback = [row.name for row in at["completion"]].index("fallback")
    body = [
        f'<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>',
        text(_x(BEFORE_HEADERS), first - 12, PHASES["headers"], size=13),
        text(_x(2), second - 12, PHASES["message"], size=13),
        text(_x(2), third + TALL + 22, PHASES["completion"], size=13),
        *_box(0, first, "client", "", "#ffffff"),
        *_box(1, first, "wire", "HTTP/2, gRPC", "#ffffff"),
        *_arrows(0, headers + 1, first),
        *_row(BEFORE_HEADERS, first, "headers", at["headers"]),
        _path(f"M{_x(headers) + WIDE} {first + TALL / 2:g}H{edge}V{second - 34}H{start:g}V{second - 2}"),
        *_row(0, second, "message", at["message"]),
        *_arrows(0, message + 1, second),
        _path(f"M{last:g} {second + TALL}V{backend - 2}"),
        *_box(message - 1, backend, "backend", "a run of the model here, or a call", "#fff8c5", columns=2),
        _path(f"M{_x(message) - 9} {backend + TALL}V{backend + TALL + 24}H{start:g}V{third - 2}"),
        text(_x(message - 3), backend + TALL + 16, "answer or failure", PALE, size=12),
        f'<path d="M{LEFT} {second + TALL + 10}H{_x(message) + 30}" stroke="{MAY_REFUSE}"/>',
        _path(f"M{_x(2)} {second + TALL + 10}V{backend + TALL + 22}", MAY_REFUSE),
        text(_x(2) + 8, backend + 14, "refusal", MAY_REFUSE, size=12),
        *_row(0, third, "completion", at["completion"]),
        *_arrows(0, completion + 1, third),
        *_box(completion, third, "client", "", "#ffffff"),
        _path(f"M{_x(fallback) + WIDE / 2 + 20:g} {third}V{third - 14}H{last:g}V{backend + TALL + 2}", dashed=True),
        text(last - 8, third - 19, "fallback to a model", PALE, size=12, anchor="end"),
        text(width - LEFT, third + TALL + 22, "red edge: the stage may refuse", MAY_REFUSE, size=12, anchor="end"),
    ]
    spoken = "; ".join(f"{PHASES[phase]}: {', '.join(row.name for row in rows)}" for phase, rows in at.items())
    return picture(width, third + TALL + 38, f"The life of a request. {spoken}", body)


def _x(column: int) -> int:
    return LEFT + column * COLUMN


def _row(column: int, y: int, phase: str, rows: list[Stage]) -> list[str]:
    return [
        part
        for at, row in enumerate(rows, column)
        for part in _box(at, y, row.name, DOES.get(row.name, ""), FILL[phase], edge=MAY_REFUSE if row.reasons else LINE)
    ]


def _box(column: int, y: int, name: str, does: str, fill: str, *, columns: int = 1, edge: str = LINE) -> list[str]:
    wide = WIDE + (columns - 1) * COLUMN
    middle = _x(column) + wide / 2
    parts = [
        f'<rect x="{_x(column)}" y="{y}" width="{wide}" height="{TALL}" rx="6" fill="{fill}" stroke="{edge}"/>',
        text(middle, y + (21 if does else 30), name, INK, weight=600, anchor="middle"),
    ]
    return [*parts, text(middle, y + 38, does, PALE, size=11, anchor="middle")] if does else parts


def _arrows(column: int, boxes: int, y: int) -> list[str]:
    """From each of a row's boxes to the next."""
    return [_path(f"M{_x(at) + WIDE} {y + TALL // 2}H{_x(at + 1) - 2}") for at in range(column, column + boxes - 1)]


def _path(route: str, colour: str = LINE, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<path d="{route}" stroke="{colour}" stroke-width="1.5" fill="none" marker-end="url(#a)"{dashes}/>'
