"""What a person asks for, done between two records: that it was asked, and what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from msgspec import structs

from modelward.audit.record import OUTCOME_KEEPS, Record, now
from modelward.audit.recorder import Recorder
from modelward.problem import ProblemsFound

T = TypeVar("T")

log = logging.getLogger("modelward.audit")

_under_way: set[asyncio.Task[Any]] = set()  # a loop keeps no task by itself


class NotDone(Exception):
    """It was refused for the reason that the message gives."""


def _nothing(result: Any) -> Mapping[str, Any]:
    return {}


async def recorded(
    recorder: Recorder,
    asked: Record,
    act: Callable[[], Awaitable[T]],
    told: Callable[[T], Mapping[str, Any]] = _nothing,
) -> T:
    """What `act` returns; it is called once the asking outlives a loss of power.

    told: fields of the second record, given what `act` returned; `result` among them where that is not `done`. Raises
    NotRecorded, and then nothing was done; and what `act` raises. Goes on if the caller is cancelled.
    """
    task = asyncio.get_running_loop().create_task(_recorded(recorder, asked, act, told))
    _under_way.add(task)
    task.add_done_callback(_ended)
    return await asyncio.shield(task)


def _ended(task: asyncio.Task[Any]) -> None:
    _under_way.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.debug("an action has failed, whether or not somebody still waits: %s", type(error).__name__)


async def _recorded(
    recorder: Recorder, asked: Record, act: Callable[[], Awaitable[T]], told: Callable[[T], Mapping[str, Any]]
) -> T:
    number = await recorder.confirm(structs.replace(asked, result="asked"))
    outcome = {"of": number, **{name: getattr(asked, name) for name in OUTCOME_KEEPS}}
    try:
        result = await act()
    except ProblemsFound as found:
        problems = tuple(each.as_json() for each in found.problems)
        await recorder.settle(Record(at=now(), result="refused", problems=problems, **outcome))
        raise
    except NotDone as why:
        await recorder.settle(Record(at=now(), result="refused", **(outcome | {"reason": str(why)})))
        raise
    except Exception as error:
        await recorder.settle(_failed(outcome, error))
        raise
    except BaseException as error:  # the loop ends: nobody is told, and nothing can be waited for
        recorder.note(_failed(outcome, error))
        raise
    await recorder.settle(Record(at=now(), **(outcome | {**told(result)})))
    return result


def _failed(outcome: dict[str, Any], error: BaseException) -> Record:
    """Without the error's text, which may hold what must not be recorded."""
    return Record(at=now(), result="failed", **(outcome | {"reason": type(error).__name__}))
