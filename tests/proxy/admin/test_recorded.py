"""What the audit trail has of what operators asked for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from modelward.admin.operator import OperationResult
from modelward.admin.recorded import MOST_WORDS, Recorded
from modelward.audit.record import Actor, Record
from modelward.audit.recorder import NoTrail


class Trail(NoTrail):
    def __init__(self) -> None:
        self.records: list[Record] = []

    async def confirm(self, record: Record) -> int:
        self.records.append(record)
        return len(self.records)

    async def settle(self, record: Record) -> bool:
        self.records.append(record)
        return True


def test_a_reload_tells_both_digests_and_which_rights_have_changed() -> None:
    trail, configs = Trail(), iter(["sha256:1", "sha256:2"])

    async def reload(actor: str, rights: bool) -> OperationResult:
        line = "operators.bindings[0].roles: ['viewer'] -> ['administrator']"
        return OperationResult(changed=("operators.bindings",), rights=(line, *["a: b -> c"] * MOST_WORDS))

    status = lambda: SimpleNamespace(generation=3, config=next(configs))  # noqa: E731
    operator: Any = SimpleNamespace(trail=trail, reload=reload, status=status)
    asyncio.run(Recorded(operator, Actor(name="ann")).reload("ann"))
    asked, done = trail.records
    assert (asked.before["config"], done.after["config"], done.result) == ("sha256:1", "sha256:2", "done")
    assert done.after["rights"][0] == "operators.bindings[0].roles: ['viewer'] -> ['administrator']"
    assert len(done.after["rights"]) == MOST_WORDS
