"""The part of the server's state that an operator may see."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs
from msgspec.structs import replace

from modelward.admin.operator import Status
from modelward.server.report import COLUMNS, Report
from modelward.telemetry.snapshot import Snapshot

NAME = COLUMNS.index("model")

Sees = Callable[[str | None], bool]


def visible(status: Status, sees: Sees) -> Status:
    """sees: whether the operator may know of a model; of None: of what concerns the whole server.

    Texts about the whole server name models: what changed at a reload, and what was wrong. An upstream may be of many
    models.
    """
    if sees(None):
        return status
    refused = status.refused_reload
    return replace(
        status,
        report=_report(status.report, sees) if status.report is not None else None,
        stats=Snapshot(output_budgets={key: used for key, used in status.stats.output_budgets.items() if sees(key[0])}),
        promotions=[each for each in status.promotions if sees(each.model)],
        temporary_limits=[each for each in status.temporary_limits if each.kind == "model" and sees(each.name)],
        learning=[each for each in status.learning if sees(each.model)],
        breakers=[each for each in status.breakers if sees(each.model)],
        failing={key: count for key, count in status.failing.items() if sees(key[0])},
        contained=[each for each in status.contained if sees(each.model)],
        policies={name: policy for name, policy in status.policies.items() if sees(name)},
        events=[
            each if each.model else structs.replace(each, why="")
            for each in status.events
            if not each.model or sees(each.model)
        ],
        operators="",
        approvals="",
        fleet="",
        configuration="",
        needs_restart=(),
        refused_reload=replace(refused, changed=(), problems=()) if refused is not None else None,
    )


def _report(report: Report, sees: Sees) -> Report:
    return replace(
        report,
        rows=tuple(row for row in report.rows if sees(row[NAME])),
        notes=(),
        refused=tuple(each for each in report.refused if sees(each.name)),
        files=tuple(each for each in report.files if sees(each[0])),
        facts={name: facts for name, facts in report.facts.items() if sees(name)},
        watching={name: words for name, words in report.watching.items() if sees(name)},
    )
