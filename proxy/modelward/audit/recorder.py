"""What the rest of the server knows of the audit trail: whom to tell, and what a refusal to record means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from modelward.audit.record import Record
from modelward.problem import ProblemsFound


class NotRecorded(ProblemsFound):
    """The record is not in the log. What it was to tell must not be done."""


class Recorder(Protocol):
    """Used on the supervisor's loop; never on the data plane."""

    async def confirm(self, record: Record) -> int:
        """Its number, once the record outlives a loss of power. Raises NotRecorded, within a bounded time."""

    async def settle(self, record: Record) -> bool:
        """As `note`, but waits a bounded time until it outlives a loss of power. Whether it does by then."""

    async def told_of(self, proposal: int, verb: str, since: datetime) -> Sequence[Mapping[str, Any]]:
        """Records of a verb that the log holds of a proposal, the oldest first: what this server has written since.
        Raises NotRecorded where it cannot be read."""

    def note(self, record: Record) -> None:
        """Records it as soon as that is possible, after what was noted before. Never waits and never fails."""


class NoTrail:
    """Where there is no audit trail: everything is done, nothing is recorded."""

    async def confirm(self, record: Record) -> int:
        return 0

    async def settle(self, record: Record) -> bool:
        return True

    async def told_of(self, proposal: int, verb: str, since: datetime) -> Sequence[Mapping[str, Any]]:
        return ()

    def note(self, record: Record) -> None:
        return
