"""What the audit trail is told of promotions: the server's own decisions, with what decided them, and no others."""

from __future__ import annotations

from pathlib import Path

from modelward.audit.record import Record
from modelward.audit.recorder import NoTrail
from modelward.promotion.asked import Wanted
from modelward.promotion.promoter import Promoter
from tests.proxy.promotion.served import Served, enough, on_a_loop


class Told(NoTrail):
    def __init__(self, promoter: Promoter) -> None:
        self.records: list[Record] = []
        promoter.recorder = lambda: self

    def note(self, record: Record) -> None:
        self.records.append(record)


@on_a_loop
async def test_steps_by_themselves_are_told_with_the_bounds_that_were_kept(tmp_path: Path) -> None:
    served = Served(promotion={"steps": [10, 100], "hold": "60s", "min_requests": 100})
    promoter = served.promoter(tmp_path)
    told = Told(promoter)
    await promoter.promote(Wanted("m", "3", auto=True, actor="alice"))
    for _ in range(2):
        served.now += 61
        enough(served)
        await promoter.look()
    step, finished = told.records
    assert (step.verb, step.kind, step.model, step.version) == ("promotion.step", "automatic", "m", "3")
    assert step.before == {"percent": 10, "shares": {"2": 9000, "3": 1000}}
    assert step.after == {"what": "100 %"}
    assert step.figures["requests"] == 16_000
    assert {each["decision"] for each in step.figures["bounds"].values()} == {"kept"}
    assert {"errors", "latency", "traffic"} <= step.figures["bounds"].keys()
    assert finished.verb == "promotion.finished"


@on_a_loop
async def test_a_version_that_is_taken_back_is_told_with_the_bound_that_it_passed(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    told = Told(promoter)
    await promoter.promote(Wanted("m", "3", (10, 100)))
    served.verdicts["m", "3"] = "worse"
    await promoter.look()
    (record,) = told.records
    assert (record.verb, record.figures["bound"]) == ("promotion.rolled_back", "shadow")
    assert "modelward shadow report m 3" in record.reason


@on_a_loop
async def test_what_an_operator_asks_for_is_told_by_who_asks(tmp_path: Path) -> None:
    served = Served()
    promoter = served.promoter(tmp_path)
    told = Told(promoter)
    await promoter.promote(Wanted("m", "3", (10, 100), actor="alice"))
    await promoter.rollback("m", "a reason", "alice")
    assert told.records == []
